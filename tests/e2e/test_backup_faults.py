"""Databases of each kind come back, and what goes wrong half-way: each fault leaves what was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.cloud import REPOSITORY, Operator, configure, eventually, told
from e2e.conftest import own_recipe
from e2e.shelf import CONTENT, FOLDER, back_up, snapshots, title, upload, write
from e2e.stores import keep, kept_words
from ronron import lab
from ronron.backup.restic import size

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("shelf")]
RESTORING = "/var/lib/ronron/restoring"
MEBI = 1024
"""Kibibytes."""


def remove(operator: Operator, name: str) -> None:
    operator.on("manager", "rm", "-f", f"{CONTENT}/{name}")


def alerts(operator: Operator) -> list[tuple[str, str]]:
    """What `ronron status` says of the backups of this app and in common; its status fits it."""
    process = operator.start("status", "--json")
    out, err = process.communicate(timeout=300)
    found = json.loads(out)
    assert (process.returncode == 0) == found["ok"], err
    assert not (found["ok"] and found["alerts"])
    return [(a["kind"], a["text"]) for a in found["alerts"] if a["app"] in ("", "shelf")]


def running(operator: Operator) -> bool:
    """Whether every service runs as many tasks as it shall."""
    words = ["docker", "service", "ls", "--format", "{{.Replicas}}"]
    container = operator.lab.server("manager").container
    done = subprocess.run(["docker", "exec", container, *words], capture_output=True, text=True)
    counts = [line.split()[0].split("/") for line in done.stdout.splitlines()]
    return done.returncode == 0 and bool(counts) and all(have == of for have, of in counts)


@contextmanager
def gone(operator: Operator, server: str) -> Iterator[None]:
    """A server loses its power, and comes back at the end."""
    lab.stop_server(operator.lab, server)
    try:
        yield
    finally:
        lab.start_server(operator.lab, server)
        # Nothing answers before the swarm has its manager again, and all tasks.
        eventually(lambda: running(operator), 300)


def test_redis_and_sqlite_come_back_as_they_were(kept: Operator, stores: str) -> None:
    """From the server that holds them, which is another than the one with the repository."""
    keep(kept, "before")
    made = back_up(kept, stores)
    assert {one["engine"] for one in made["dumps"]} == {"sqlite", "redis"}
    assert made["doubts"] == []
    # The file is whole though it was written to all the time; where it is, nothing is left.
    look = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
        "print([d.execute(q).fetchone()[0] for q in ('PRAGMA integrity_check',"
        " 'SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b)',"
        " 'SELECT count(*) > 10 FROM a', 'SELECT mark FROM marks')])"
    )
    dumped = kept.on("manager", "python3", "-c", look, f"/srv/ronron/backups/{stores}/notes.dump")
    assert dumped == "['ok', 1, 1, 'before']"
    holds = "test ! -e /srv/ronron/volumes/stores/notes || echo here"
    (holder,) = [one.name for one in kept.lab.servers if kept.on(one.name, "sh", "-c", holds)]
    assert holder != "manager"
    for server in ("manager", holder):
        script = f"ls -d /srv/ronron/backups/{stores}/.[a-z]* 2> /dev/null || true"
        assert kept.on(server, "sh", "-c", script) == ""
    keep(kept, "after")
    out, _ = kept.ronron("restore", stores, "--yes", "--json")
    assert json.loads(out)["databases"] == ["notes", "cache"]
    assert kept_words(kept) == ("before", "before")
    assert kept.plan() == []
    assert kept.on(holder, "ls", "/srv/ronron/volumes/.restoring") == ""


def psql(operator: Operator, statement: str) -> str:
    """What the register's database answers to a statement."""
    login = "PGPASSWORD=`cat /run/secrets/db_password` exec psql --host=db --username=register"
    script = f"{login} --no-psqlrc --quiet --no-align --tuples-only"
    return told(operator, "register", script, statement, 120)


def test_postgresql_comes_back_as_it_was_and_passes_its_drill(kept: Operator) -> None:
    app = own_recipe(kept, "register")
    kept.ronron("deploy", app, app, "--yes", "--timeout", "500")
    psql(kept, "CREATE TABLE told (id SERIAL, words TEXT); INSERT INTO told (words) VALUES ('é')")
    made = back_up(kept, app)
    ((engine, size),) = [(one["engine"], one["size"]) for one in made["dumps"]]
    assert (engine, size > 500) == ("postgres", True)
    psql(kept, "UPDATE told SET words = 'after'; CREATE TABLE later (n INT)")
    out, _ = kept.ronron("restore", app, "--yes", "--json")
    assert json.loads(out)["databases"] == ["db"]
    assert psql(kept, "SELECT id, words, to_regclass('later') IS NULL FROM told") == "1|é|t"
    (drilled,) = json.loads(kept.ronron("drill", app, "--json")[0])
    assert (drilled["passed"], drilled["snapshot"]) == (True, made["id"])
    assert kept.plan() == []
    kept.ronron("remove", app, "--delete-data", "--yes")


def test_a_repository_that_goes_away_half_way(kept: Operator) -> None:
    """The server behind it is cut while data is sent: told at once, and what was there is whole."""
    vault = kept.folder / "vault" / "backup.age"
    sealed = vault.read_bytes()
    key = kept.folder.parent / "half-key"
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    kept.on("worker-1", "sh", "-c", f"echo '{public}' >> /root/.ssh/authorized_keys")
    remove(kept, "large.bin")
    configure(kept, "sftp:root@worker-1:/srv/half")
    try:
        words = ("secrets", "set", "backup", "sftp_key", "--yes")
        assert kept.start(*words, stdin=key.read_text()).wait(120) == 0
        kept.ronron("backup", "init")
        good = back_up(kept)
        before = snapshots(kept)
        write(kept, "later")
        upload(kept, "large.bin", 600 * MEBI)
        size = ("sh", "-c", "du -sm /srv/half/data | cut -f1")
        full = int(kept.on("worker-1", *size))
        process = kept.start("backup", "shelf")
        eventually(lambda: int(kept.on("worker-1", *size)) > full + 16, 240)
        kept.on("worker-1", "pkill", "-KILL", "sftp-server")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1, err
        assert "error: shelf: restic backup failed" in err
        assert "Traceback" not in err
        assert [kind for kind, _ in alerts(kept)] == ["failed"]
        assert snapshots(kept) == before
        assert before[-1] == good["id"]
        remove(kept, "large.bin")
        again = back_up(kept)
        assert again["id"] != good["id"]
        assert alerts(kept) == []
        kept.ronron("backup", "check", "--read", "100%")
    finally:
        remove(kept, "large.bin")
        configure(kept, REPOSITORY)
        vault.write_bytes(sealed)
        back_up(kept)


def test_a_disk_that_is_full_during_a_dump(kept: Operator) -> None:
    """The last good dump stays, and no snapshot is made of half of one."""
    made = back_up(kept)
    kept.on("manager", "mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", FOLDER)
    try:
        kept.on("manager", "dd", "if=/dev/zero", f"of={FOLDER}/filler", "bs=1024", "count=1020")
        _, err = kept.ronron("backup", "shelf", status=1)
        assert "shelf: " in err
        assert "errno 28" in err.lower() or "no space left" in err.lower()
        assert [kind for kind, _ in alerts(kept)] == ["failed"]
    finally:
        kept.on("manager", "umount", FOLDER)
    assert snapshots(kept)[-1] == made["id"]
    assert kept.on("manager", "ls", FOLDER).split() == ["about", "db.dump"]
    back_up(kept)
    assert alerts(kept) == []


def test_a_manager_that_dies_during_a_backup(kept: Operator) -> None:
    upload(kept, "large.bin", 1500 * MEBI)
    process = kept.start("backup", "shelf")
    try:
        runs = ("sh", "-c", "pgrep -x restic > /dev/null && ls /srv/repository/locks || true")
        eventually(lambda: kept.on("manager", *runs), 240)
        with gone(kept, "manager"):
            _, err = process.communicate(timeout=300)
            assert process.returncode == 1, err
            assert "error: " in err
            assert "Traceback" not in err
    finally:
        remove(kept, "large.bin")
    back_up(kept)
    assert kept.plan() == []
    eventually(lambda: alerts(kept) == [], 240)


def test_a_manager_that_dies_during_a_restore(kept: Operator) -> None:
    """At the worst moment, when the folders have changed places: the live data comes back."""
    write(kept, "old")
    back_up(kept)
    write(kept, "live")
    process = kept.start("restore", "shelf", "--yes")
    replaced = ("sh", "-c", f"cat {RESTORING}/*.json 2> /dev/null || true")

    def exchanged() -> bool:
        journal = kept.on("manager", *replaced)
        if not journal:
            assert process.poll() is None, process.communicate()
            return False
        old = json.loads(journal)["swaps"][0]["old"]
        return bool(kept.on("manager", "sh", "-c", f"ls -d {old} 2> /dev/null || true"))

    eventually(exchanged, 300)
    with gone(kept, "manager"):
        _, err = process.communicate(timeout=600)
        assert process.returncode == 1, err
        assert "shelf: the restore was interrupted" in err
        assert "ronron apply puts the data back" in err
    status = json.loads(kept.start("status", "--json").communicate()[0])
    (shelf,) = [app for app in status["apps"] if app["name"] == "shelf"]
    assert "a restore goes on, or was interrupted" in shelf["problem"]
    _, err = kept.ronron("apply", "--yes")
    assert "interrupted restores, data put back: shelf" in err
    assert title(kept) == "live"
    assert kept.on("manager", "ls", RESTORING) == ""
    assert kept.plan() == []
    # And nothing is in the way of the next.
    kept.ronron("restore", "shelf", "--yes")
    assert title(kept) == "old"
    eventually(lambda: kept.start("status").wait(300) == 0, 300)


def test_a_damaged_pack_is_found_and_other_snapshots_are_whole(kept: Operator) -> None:
    write(kept, "whole")
    upload(kept, "small.bin", 1)
    whole = back_up(kept)
    upload(kept, "damaged.bin", 20 * MEBI)
    damaged = back_up(kept)
    assert damaged["size"] >= 20 * MEBI
    kept.ronron("backup", "check", "--read", "100%")
    script = (
        "f=$(find $1/data -type f -newer $2/db.dump -printf '%s %p\n' | sort -n | tail -1 "
        "| cut -d' ' -f2); cp $f /srv/pack; chmod u+w $f;"
        "printf xxxx | dd of=$f bs=1 seek=1000 conv=notrunc; echo $f"
    )
    out = kept.on("manager", "sh", "-c", script, "sh", REPOSITORY, FOLDER)
    pack = out.splitlines()[-1]
    try:
        _, err = kept.ronron("backup", "check", "--read", "100%", status=1)
        assert "restic check failed" in err
        ((kind, text),) = alerts(kept)
        assert kind == "check"
        assert "failed: restic check failed" in text
        write(kept, "live")
        _, err = kept.ronron("restore", "shelf", "--at", damaged["id"], "--yes", status=1)
        assert title(kept) == "live"
        kept.ronron("restore", "shelf", "--at", whole["id"], "--yes")
        assert title(kept) == "whole"
    finally:
        kept.on("manager", "cp", "/srv/pack", pack)
        remove(kept, "damaged.bin")
    kept.ronron("backup", "check", "--read", "100%")
    assert alerts(kept) == []
    back_up(kept)
    ((kind, text),) = alerts(kept)
    assert kind == "shrunk"
    assert f"the last one {size(damaged['size'])}" in text
    back_up(kept)
    assert alerts(kept) == []


def test_clocks_that_are_wrong_are_told_and_cost_no_snapshot(kept: Operator) -> None:
    made = back_up(kept)
    before = json.loads(kept.ronron("backups", "shelf", "--json")[0])
    password = kept.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    script = (
        "RESTIC_PASSWORD=$1 restic -r $2 backup --host $3 --tag app=shelf"
        " --time '2036-01-01 00:00:00' $4"
    )
    kept.on("manager", "sh", "-c", script, "sh", password, REPOSITORY, kept.lab.name, FOLDER)
    out, err = kept.ronron("backups", "shelf", status=1)
    assert "in the future" in out
    assert "shelf: snapshots from the future: " in err
    id = err.partition("from the future: ")[2][:8]
    _, err = kept.ronron("backup", "forget", "--yes", status=1)
    assert "is from the future: nothing is forgotten (look at the servers' clocks" in err
    state = json.loads(kept.on("manager", "cat", "/var/lib/ronron/backups.json"))
    assert state["apps"]["shelf"]["newest"]["id"] == made["id"]
    kept.ronron("backup", "forget", id, "--yes")
    assert json.loads(kept.ronron("backups", "shelf", "--json")[0]) == before

    # A manager two days ahead: its programs see that time.
    kept.on("manager", "apt-get", "install", "-y", "-q", "faketime")
    kept.on("manager", "cp", "/etc/environment", "/srv/environment")
    script = (
        "printf 'LD_PRELOAD=%s\nFAKETIME=+2d\n' /usr/lib/*/faketime/libfaketime.so.1"
        " >> /etc/environment"
    )
    kept.on("manager", "sh", "-c", script)
    try:
        assert ("clock", "the clock of manager is 48 h ahead") in alerts(kept)
        _, err = kept.ronron("backup", "forget", "--yes", status=1)
        assert "manager: its clock differs by" in err
    finally:
        kept.on("manager", "cp", "/srv/environment", "/etc/environment")
    kept.ronron("backup", "forget", "--yes")
    assert alerts(kept) == []
