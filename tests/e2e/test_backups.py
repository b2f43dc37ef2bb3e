"""Backups and restores on the cloud: what was there before is there again, byte for byte.

Ghost does it once; the rest is done by an app that starts in seconds.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import shelf
from e2e.cloud import REPOSITORY, Operator, answers, configure, eventually, sql
from e2e.shelf import CONTENT, HEALTH, VOLUME, back_up, is_there, snapshots, title, upload, write

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("shelf")]
BLOG = "/srv/ronron/volumes/blog/content"


def post(operator: Operator, words: str) -> None:
    """Give the blog a title; an author's post is a row of its database like this one."""
    sql(operator, f"UPDATE settings SET value = '{words}' WHERE `key` = 'title'")  # noqa: S608


def picture(operator: Operator, name: str) -> str:
    """Put a file of random bytes among the blog's uploads; returns its digest."""
    path = f"{BLOG}/images/{name}"
    operator.on("manager", "dd", "if=/dev/urandom", f"of={path}", "bs=1024", "count=300")
    operator.on("manager", "chown", "1000:1000", path)
    return shelf.digest(operator, path)


def test_a_restore_brings_back_what_was_there_and_nothing_that_came_later(
    kept: Operator, blog: dict[str, Any]
) -> None:
    post(kept, "Before")
    before = picture(kept, "before.bin")
    made = back_up(kept, "blog")
    assert made["dumps"][0]["size"] > 100_000
    out, _ = kept.ronron("backups", "blog", "--json")
    assert made["id"] in [one["id"] for one in json.loads(out)]
    post(kept, "After")
    picture(kept, "after.bin")
    kept.on("manager", "rm", f"{BLOG}/images/before.bin")

    out, _ = kept.ronron("restore", "blog", "--yes", "--json")
    done = json.loads(out)
    assert (done["volumes"], done["databases"]) == (["content"], ["db"])
    assert sql(kept, "SELECT value FROM settings WHERE `key` = 'title'") == "Before"
    assert shelf.digest(kept, f"{BLOG}/images/before.bin") == before
    assert not is_there(kept, f"{BLOG}/images/after.bin")
    assert answers(kept, "blog", "/ghost/api/admin/site/")
    assert kept.plan() == []
    replaced = [place.partition(":")[2] for place in done["replaced"]]
    assert is_there(kept, f"{replaced[0]}/images/after.bin")
    owner = kept.on("manager", "stat", "-c", "%u:%g %a", BLOG)
    assert owner == "1000:1000 750"
    # Nothing beside the app stays: no service, no network, no folder.
    names = kept.on("manager", "docker", "service", "ls", "--format", "{{.Name}}")
    names += kept.on("manager", "docker", "network", "ls", "--format", "{{.Name}}")
    assert "_ronron-" not in names
    assert kept.on("manager", "ls", "/srv/ronron/volumes/.restoring") == ""


def test_what_was_replaced_goes_after_a_week(kept: Operator) -> None:
    folder = "/srv/ronron/volumes/.replaced"
    kept.on("manager", "mkdir", "-p", f"{folder}/old", f"{folder}/new")
    kept.on("manager", "touch", "-d", "8 days ago", f"{folder}/old")
    back_up(kept)
    left = kept.on("manager", "ls", folder).split()
    assert "new" in left
    assert "old" not in left
    kept.on("manager", "rmdir", f"{folder}/new")


def test_a_part_is_restored_alone(kept: Operator) -> None:
    write(kept, "One")
    upload(kept, "one.bin")
    back_up(kept)
    write(kept, "Two")
    two = upload(kept, "two.bin")
    kept.ronron("restore", "shelf", "--database", "--yes")
    assert title(kept) == "One"
    assert shelf.digest(kept, f"{CONTENT}/two.bin") == two
    write(kept, "Three")
    kept.ronron("restore", "shelf", "--only", "content", "--yes")
    assert title(kept) == "Three"
    assert not is_there(kept, f"{CONTENT}/two.bin")
    _, err = kept.ronron("restore", "shelf", "--only", "nothing", "--yes", status=2)
    assert "has no volume nothing (it has: content)" in err


def test_a_dump_that_fails_makes_no_snapshot(kept: Operator) -> None:
    before = snapshots(kept)
    kept.on("manager", "docker", "service", "scale", "shelf_db=0")
    try:
        out, err = kept.ronron("backup", "shelf", status=1)
    finally:
        kept.on("manager", "docker", "service", "scale", "shelf_db=1")
        eventually(lambda: answers(kept, "shelf", HEALTH), 120)
    assert "shelf: dump-db failed" in err
    assert out == ""
    assert snapshots(kept) == before
    assert kept.plan() == []


def test_a_snapshot_with_a_torn_dump_is_not_restored(kept: Operator) -> None:
    write(kept, "Alive")
    made = back_up(kept)
    password = kept.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    script = (
        "cd /tmp && rm -rf torn && mkdir torn && export RESTIC_PASSWORD=$1 &&"
        "restic -r $2 restore $3 --target torn --quiet &&"
        "truncate -s 600 torn/srv/ronron/backups/shelf/db.dump &&"
        "mkdir -p /srv/keep && mv /srv/ronron/backups/shelf /srv/keep/ &&"
        "mv torn/srv/ronron/backups/shelf /srv/ronron/backups/shelf;"
        "restic -r $2 backup --host $4 --tag app=shelf /srv/ronron/backups/shelf"
        " /srv/ronron/volumes/shelf/content; rm -rf /srv/ronron/backups/shelf;"
        "mv /srv/keep/shelf /srv/ronron/backups/shelf"
    )
    kept.on("manager", "sh", "-c", script, "sh", password, REPOSITORY, made["id"], kept.lab.name)
    _, err = kept.ronron("restore", "shelf", "--yes", status=1)
    assert "the dump of db is not to be used: its end is not that of a whole mariadb dump" in err
    assert title(kept) == "Alive"
    assert answers(kept, "shelf", HEALTH)
    kept.ronron("restore", "shelf", "--at", made["id"][:8], "--yes")
    assert title(kept) == "Alive"


def test_a_restore_that_does_not_start_is_taken_back(kept: Operator) -> None:
    """A snapshot whose files the app may not read: it goes on with what it had."""
    write(kept, "Good")
    kept.on("manager", "chown", "root:root", VOLUME)
    try:
        bad = back_up(kept)
    finally:
        kept.on("manager", "chown", "1000:1000", VOLUME)
    write(kept, "Better")
    before = kept.on("manager", "stat", "-c", "%i", VOLUME)
    arguments = ("restore", "shelf", "--at", bad["id"], "--yes", "--timeout", "60")
    _, err = kept.ronron(*arguments, status=1)
    assert "shelf: was not restored: web does not start" in err
    assert "its data is as it was before" in err
    assert title(kept) == "Better"
    assert kept.on("manager", "stat", "-c", "%i", VOLUME) == before
    eventually(lambda: answers(kept, "shelf", HEALTH))
    assert kept.plan() == []


def test_another_app_and_a_removed_one_come_out_of_a_snapshot(kept: Operator) -> None:
    write(kept, "Twice")
    back_up(kept)
    domain = f"copy.{kept.lab.domain}"
    kept.ronron("restore", "shelf", "--as", "copy", "--domain", domain, "--yes")
    assert title(kept, "copy") == "Twice"
    assert answers(kept, "copy", HEALTH)
    assert title(kept) == "Twice"
    back_up(kept, "copy")
    kept.ronron("remove", "copy", "--delete-data", "--yes")
    assert not (kept.folder / "vault" / "copy.age").exists()
    kept.ronron("restore", "copy", "--yes")
    assert title(kept, "copy") == "Twice"
    assert answers(kept, "copy", HEALTH)
    kept.ronron("remove", "copy", "--delete-data", "--yes")


def test_one_app_that_fails_stops_no_other(kept: Operator, hi: dict[str, Any]) -> None:
    kept.on("manager", "docker", "service", "scale", "shelf_db=0")
    try:
        out, err = kept.ronron("backup", "--json", status=1)
    finally:
        kept.on("manager", "docker", "service", "scale", "shelf_db=1")
        eventually(lambda: answers(kept, "shelf", HEALTH), 120)
    found = json.loads(out)
    assert "hi" in [one["app"] for one in found["snapshots"]]
    assert [one["app"] for one in found["failed"]] == ["shelf"]
    assert "shelf" in err


DAYS_OF_TWO = {
    "2024-06-30 12:00": "shelf hi",
    "2024-06-28 13:00": "shelf hi",
    "2024-06-20 18:00": "shelf hi",
    "2024-06-20 09:00": "hi",  # Not the last one of its day, as the next is not of its week.
    "2024-06-12 10:00": "shelf hi",
    "2024-06-10 10:00": "hi",
    "2024-03-20 10:00": "shelf",  # The last one of its month.
    "2024-03-10 10:00": "",
    "2023-05-01 10:00": "",
}
"""When both apps were backed up, and of which of them that snapshot must stay."""


def test_each_app_keeps_what_its_own_rule_says(kept: Operator, hi: dict[str, Any]) -> None:
    """`shelf` and one that is removed by the site's default, `hi` by its own."""
    repository, file = "/srv/retention", kept.folder / "apps" / "hi.yml"
    before = file.read_text()
    made = [(app, time) for time in DAYS_OF_TWO for app in ("shelf", "hi")]
    # A year is counted back from an app's own newest; what is of another site is not ronron's.
    made += [("gone", "2022-01-20 10:00"), ("gone", "2021-01-01 10:00")]
    script = (
        "set -e; export RESTIC_PASSWORD=$1 RESTIC_REPOSITORY=$2; add() {"
        ' restic --quiet backup --host "$1" --tag "app=$2" --time "$3:00" /etc/hostname; }; '
        "for year in 2019 2021; do add other shelf $year-01-01\\ 10:00; done; host=$3; shift 3; "
        'while [ $# -gt 0 ]; do add "$host" "$1" "$2"; shift 2; done'
    )
    password = kept.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    configure(kept, repository)
    try:
        kept.ronron("backup", "init")
        words = (password, repository, kept.lab.name, *(word for pair in made for word in pair))
        kept.on("manager", "sh", "-c", script, "sh", *words)
        keep = ", ".join(f"{name}: 30d" for name in ("every", "daily", "weekly", "monthly"))
        file.write_text(f"{before}backup: {{keep: {{{keep}}}}}\n")
        out, _ = kept.ronron("backup", "forget", "--yes")
        listed = json.loads(kept.start("backups", "--json").communicate(timeout=300)[0])
    finally:
        file.write_text(before)
        configure(kept, REPOSITORY)
    stay = [(app, time) for time, apps in DAYS_OF_TWO.items() for app in apps.split()]
    stay += [("gone", "2022-01-20 10:00")]
    assert {(one["app"], one["time"][:16].replace("T", " ")) for one in listed} == set(stay)
    assert f"{len(made) - len(stay)} snapshots forgotten" in out
    assert len(kept.on("manager", "ls", f"{repository}/snapshots").split()) == len(stay) + 2


def test_locks_of_the_dead_do_not_stay_in_the_way(kept: Operator) -> None:
    password = kept.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    locks = ("sh", "-c", f"ls {REPOSITORY}/locks")
    container = kept.lab.server("manager").container
    script = f"tail -f /dev/null | RESTIC_PASSWORD={password} restic -r {REPOSITORY} backup --stdin"
    process = subprocess.Popen(
        ["docker", "exec", container, "sh", "-c", script], stdout=subprocess.DEVNULL
    )
    eventually(lambda: kept.on("manager", *locks))
    kept.on("manager", "pkill", "-KILL", "restic")
    process.wait(30)
    assert kept.on("manager", *locks)
    kept.ronron("backup", "forget", "--yes")
    assert kept.on("manager", *locks) == ""


def test_a_ronron_that_is_killed_leaves_nothing_running(kept: Operator) -> None:
    kept.on(
        "manager", "dd", "if=/dev/urandom", f"of={CONTENT}/large.bin", "bs=1048576", "count=1500"
    )
    process = kept.start("backup", "shelf")

    def restic_runs() -> str:
        return kept.on("manager", "sh", "-c", "pgrep -x restic || true")

    try:
        eventually(restic_runs, 120)
        process.kill()
        process.communicate()
        eventually(lambda: not restic_runs(), 120)
    finally:
        kept.on("manager", "rm", f"{CONTENT}/large.bin")
    assert kept.on("manager", "sh", "-c", "ls -d /run/ronron-*/ 2> /dev/null || true") == ""
    back_up(kept)


def test_mistakes_are_told_in_one_line(kept: Operator) -> None:
    for arguments, said in (
        (("backup", "blgo"), "blgo"),
        (("restore", "shelf", "--at", "2020-01-01", "--yes"), "has no snapshot from before"),
        (("restore", "shelf"), "add --yes"),
        (("restore", "shelf", "--as", "hi", "--yes"), "there is an app hi already"),
    ):
        _, err = kept.ronron(*arguments, status=2)
        assert said in err
        assert "Traceback" not in err


def test_secrets_of_another_app_are_not_taken_for_a_copys(kept: Operator) -> None:
    left = kept.folder / "vault" / "old.age"
    left.write_bytes((kept.folder / "vault" / "shelf.age").read_bytes())
    try:
        _, err = kept.ronron("restore", "shelf", "--as", "old", "--yes", status=2)
    finally:
        left.unlink()
    assert "vault/old.age: is of another app" in err
    assert not (kept.folder / "apps" / "old.yml").exists()


def test_another_password_is_told(kept: Operator) -> None:
    vault = kept.folder / "vault" / "backup.age"
    before = vault.read_bytes()
    words = ("secrets", "set", "backup", "password", "--yes")
    process = kept.start(*words, stdin="another")
    assert "the repository knows the password" in process.communicate()[1]
    process = kept.start(*words, "--vault-only", stdin="another")
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    try:
        _, err = kept.ronron("backups", status=2)
    finally:
        vault.write_bytes(before)
    assert "was made with another password" in err
    assert hashlib.sha256(vault.read_bytes()).digest() == hashlib.sha256(before).digest()


SERVERS = {
    "rest": "rest:http://manager:8000/my-cloud/site",
    "s3": "s3:http://manager:8001/bucket/site",
    "sftp": "sftp:root@worker-1:/srv/sftp-repository",
    "rclone": "rclone:far:/srv/rclone-repository",
}


@pytest.fixture
def elsewhere(kept: Operator, request: pytest.FixtureRequest) -> Iterator[Operator]:
    """The site with a repository behind a real server of that kind; afterwards as it was."""
    kind = request.param
    vault = kept.folder / "vault" / "backup.age"
    before = vault.read_bytes()
    container = kept.lab.server("manager").container
    secret: dict[str, str] = {}
    server: list[str] = []
    user_of: list[str] = []
    if kind == "rest":
        kept.on("manager", "apt-get", "install", "-y", "-q", "restic-rest-server", "apache2-utils")
        # As docs/backups.md has it.
        user = ("--system", "--home-dir", "/srv/restic", "--create-home", "restic")
        kept.on("manager", "useradd", *user)
        login = ("/srv/restic/.htpasswd", "my-cloud", "p@ss:w/rd")
        kept.on("manager", "htpasswd", "-B", "-b", "-c", *login)
        secret = {"rest_user": "my-cloud", "rest_password": "p@ss:w/rd"}
        server = ["restic-rest-server", "--path", "/srv/restic", "--append-only", "--private-repos"]
        user_of = ["--user", "restic"]
    elif kind == "s3":
        rclone = Path(sys.executable).parent / "rclone"
        subprocess.run(["docker", "cp", "-L", rclone, f"{container}:/usr/local/bin/"], check=True)
        kept.on("manager", "mkdir", "-p", "/srv/s3/bucket")
        secret = {"s3_key": "thekey", "s3_secret": "thesecret"}
        server = ["rclone", "serve", "s3", "--addr", ":8001", "--auth-key", "thekey,thesecret"]
        server += ["/srv/s3"]
    elif kind == "sftp":
        key = kept.folder.parent / "backup-key"
        key.unlink(missing_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(words, check=True)
        secret = {"sftp_key": key.read_text()}
        public = key.with_suffix(".pub").read_text().strip()
        kept.on("worker-1", "sh", "-c", f"echo '{public}' >> /root/.ssh/authorized_keys")
    else:
        secret = {"rclone_config": "[far]\ntype = local\n"}
    words = ["docker", "exec", *user_of, container, *server]
    process = subprocess.Popen(words) if server else None
    configure(kept, SERVERS[kind])
    try:
        for name, value in secret.items():
            setting = kept.start("secrets", "set", "backup", name, "--yes", stdin=value)
            out, err = setting.communicate()
            assert setting.returncode == 0, out + err
        yield kept
    finally:
        configure(kept, REPOSITORY)
        vault.write_bytes(before)
        if process is not None:
            kept.on("manager", "pkill", "-f", server[0])
            process.wait(30)


@pytest.mark.parametrize("elsewhere", SERVERS, indirect=True)
def test_a_repository_elsewhere(elsewhere: Operator, request: pytest.FixtureRequest) -> None:
    operator, kind = elsewhere, request.node.callspec.params["elsewhere"]
    if kind == "rclone":
        operator.ronron("apply", "--yes")
    eventually(lambda: "made" in operator.start("backup", "init").communicate()[0], 60)
    write(operator, "sent")
    sent = upload(operator, "sent.bin")
    made = back_up(operator)
    listed = json.loads(operator.ronron("backups", "--json")[0])
    assert [one["id"] for one in listed] == [made["id"]]
    if kind == "rest":
        only_its_own_side_deletes(operator, made["id"])
    operator.ronron("backup", "check", "--read", "100%")
    if kind == "s3":
        return  # test_rebuild.py restores from there.
    write(operator, "lost")
    operator.on("manager", "rm", f"{CONTENT}/sent.bin")
    operator.ronron("restore", "shelf", "--yes")
    assert title(operator) == "sent"
    assert shelf.digest(operator, f"{CONTENT}/sent.bin") == sent


def only_its_own_side_deletes(operator: Operator, newest: str) -> None:
    """An old snapshot goes neither by ronron nor by restic, but as docs/backups.md has it."""
    password = operator.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    login = SERVERS["rest"].replace("//", "//my-cloud:p%40ss%3Aw%2Frd@")
    restic = 'export RESTIC_PASSWORD=$1 RESTIC_REPOSITORY=$2; shift 2; restic "$@" 2>&1'

    def there(*words: str, then: str = "") -> str:
        script = ("sh", "-c", restic + then, "sh", password, login)
        return operator.on("manager", *script, *words)

    tags = ("--host", operator.lab.name, "--tag", "app=shelf", "--time", "2020-01-01 00:00:00")
    there("backup", *tags, shelf.FOLDER)
    (old,) = (id for id in snapshots(operator) if id != newest)
    _, err = operator.ronron("backup", "forget", "--yes", status=2)
    assert "this repository deletes nothing (backup.append_only)" in err
    said = there("forget", old, then=" || true")
    assert "403 Forbidden" in said
    _, err = operator.ronron("backup", "forget", old, "--yes", status=1)
    assert "refused to delete 1 of the 1 snapshots" in err
    assert snapshots(operator) == [old, newest]
    keep = 'printf %s "$1" | install -o restic -m 0600 /dev/stdin /srv/restic/.password'
    operator.on("manager", "sh", "-c", keep, "sh", password)
    operator.on("manager", *pruning())
    assert snapshots(operator) == [newest]


def pruning() -> list[str]:
    """The command by which snapshots are forgotten where they are kept, from the documentation."""
    page = (Path(__file__).parents[2] / "docs" / "backups.md").read_text()
    _, _, found = page.partition("```\nrunuser -u restic")
    return shlex.split("runuser -u restic" + found.partition("```")[0].replace("\\\n", ""))
