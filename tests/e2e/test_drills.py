"""Drills on the lab: good backups come back aside, bad ones are told, and nothing of it stays."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import REPOSITORY, Operator, answers, eventually, sql
from ronron.site.vault import create_key

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("blog", "hi", "kept")]
VOLUME = "/srv/ronron/volumes/blog/content"
PICTURE = "images/2026/11/cat.png"
HEALTH = "/ghost/api/admin/site/"


def drill(operator: Operator, *words: str, status: int = 0) -> list[dict[str, Any]]:
    out, _ = operator.ronron("drill", *words, "--json", status=status)
    found: list[dict[str, Any]] = json.loads(out)
    return found


def failed(operator: Operator) -> str:
    """Why the blog's drill failed; it must."""
    (found,) = drill(operator, "blog", status=1)
    assert not found["passed"]
    assert found["seconds"] is None
    assert nothing_is_left(operator)
    return str(found["reason"])


def nothing_is_left(operator: Operator) -> bool:
    """Whether the swarm, its servers and the folder of drills have nothing of a drill."""
    for kind in ("service", "network", "config", "secret"):
        listed = operator.on("manager", "docker", kind, "ls", "--format", "{{.Name}}")
        assert "drill" not in listed, listed
    for server in ("manager", "worker-1"):
        assert "drill" not in operator.on(server, "docker", "ps", "-a", "--format", "{{.Names}}")
    assert operator.on("manager", "ls", "-A", "/srv/ronron/volumes/.drill") == ""
    return True


def live(operator: Operator) -> list[str]:
    """The live app's containers and its services' versions."""
    running = ("docker", "ps", "-q", "--no-trunc", "--filter", "name=blog_")
    inspect = ("docker", "service", "inspect", "--format", "{{.ID}} {{.Version.Index}}")
    return [
        *sorted(operator.on("manager", *running).split()),
        *sorted(operator.on("worker-1", *running).split()),
        operator.on("manager", *inspect, "blog_web", "blog_db"),
    ]


def container(operator: Operator, name: str) -> str | None:
    """A running container's id on the manager, by the beginning of its name."""
    words = ("docker", "ps", "-q", "--filter", f"name=^{name}\\.")
    return operator.on("manager", *words).partition("\n")[0] or None


@pytest.fixture(scope="module")
def snapshot(kept: Operator, blog: dict[str, Any]) -> str:
    """A snapshot of the blog, with a picture that one of its posts shows."""
    place = f"{VOLUME}/{PICTURE}"
    kept.on("manager", "install", "-d", "-o", "1000", "-g", "1000", str(Path(place).parent))
    kept.on("manager", "dd", "if=/dev/urandom", f"of={place}", "bs=1024", "count=300")
    kept.on("manager", "chown", "1000:1000", place)
    sql(kept, f"UPDATE posts SET feature_image = '__GHOST_URL__/content/{PICTURE}' LIMIT 1")  # noqa: S608
    out, _ = kept.ronron("backup", "blog", "--json")
    made: str = json.loads(out)["snapshots"][0]["id"]
    return made


def changed(operator: Operator, snapshot: str, change: str) -> None:
    """A newer snapshot of the blog, made of `snapshot` by a change in shell, past ronron.

    `$D` is the dump, `$C` the folder of the volume.
    """
    password = operator.ronron("secrets", "show", "backup", "password", "--reveal")[0].strip()
    script = (
        "set -e; export RESTIC_PASSWORD=$1 RESTIC_REPOSITORY=$2; rm -rf /srv/changed; "
        "restic restore $3 --target /srv/changed --quiet; cd /srv/changed; "
        "D=srv/ronron/backups/blog/db.dump C=srv/ronron/volumes/blog/content; "
        f"{change}; "
        # restic keeps absolute paths: these are seen as they were, by nobody else.
        "unshare --mount sh -ec 'mount --bind /srv/changed/srv/ronron /srv/ronron; "
        "exec restic backup --quiet --host $0 --tag app=blog /srv/ronron/backups/blog "
        "/srv/ronron/volumes/blog/content' $4; rm -rf /srv/changed"
    )
    words = ("sh", "-c", script, "sh", password, REPOSITORY, snapshot, operator.lab.name)
    operator.on("manager", *words)


EMPTY = (
    "printf 'CREATE DATABASE IF NOT EXISTS ghost;\\nUSE ghost;\\n-- Dump completed on 2026\\n' > $D"
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("truncate -s 100000 $D", "its end is not that of a whole mariadb dump"),
        (EMPTY, "The blog has authors: "),
        (f"rm $C/{PICTURE}", f"{PICTURE} missing or empty in the volume content"),
    ],
    ids=["torn dump", "emptied database", "missing picture"],
)
def test_a_bad_backup_fails_its_drill(
    kept: Operator, snapshot: str, change: str, said: str
) -> None:
    before = live(kept)
    changed(kept, snapshot, change)
    assert said in failed(kept)
    assert live(kept) == before


@pytest.fixture
def other_password(kept: Operator) -> Iterator[None]:
    """The vault has another password of the repository; afterwards the right one again."""
    vault = kept.folder / "vault" / "backup.age"
    before = vault.read_bytes()
    words = ("secrets", "set", "backup", "password", "--yes", "--vault-only")
    process = kept.start(*words, stdin="another")
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    try:
        yield
    finally:
        vault.write_bytes(before)


@pytest.mark.usefixtures("other_password")
def test_a_repository_that_does_not_open_is_a_drill_that_failed(kept: Operator) -> None:
    _, err = kept.ronron("drill", "blog", status=2)
    assert "was made with another password" in err
    told = json.loads(kept.on("manager", "cat", "/var/lib/ronron/drills.json"))
    assert not told["blog"]["passed"]
    assert "another password" in told["blog"]["reason"]
    kept.ronron("status", status=1)


def test_a_wrong_key_and_a_vault_with_other_passwords_fail(
    kept: Operator, snapshot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = kept.folder / "vault" / "blog.age"
    before = vault.read_bytes()
    words = ("secrets", "set", "blog", "db_password", "--yes", "--vault-only")
    process = kept.start(*words, stdin="another")
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    try:
        assert failed(kept) == "vault/blog.age has another db_password than the app runs with"
    finally:
        vault.write_bytes(before)
    create_key(tmp_path / "key")
    monkeypatch.setenv("RONRON_KEY_FILE", str(tmp_path / "key"))
    _, err = kept.ronron("drill", "blog", status=2)
    assert "vault/backup.age: is not encrypted to" in err


def test_a_drill_that_is_killed_is_cleared_away_by_the_next(kept: Operator, snapshot: str) -> None:
    process = kept.start("drill", "blog")
    try:
        eventually(lambda: container(kept, "drill_blog_db"), 300)
    finally:
        process.kill()
        process.communicate()
    kept.ronron("backup", "hi")
    (found,) = drill(kept, "--app", "hi")
    assert found["passed"]
    assert nothing_is_left(kept)


def test_a_good_backup_comes_back_where_it_reaches_nobody(kept: Operator, snapshot: str) -> None:
    (made,) = json.loads(kept.ronron("backup", "blog", "--json")[0])["snapshots"]
    before = live(kept)
    secrets = kept.on("manager", "docker", "secret", "ls", "-q")
    process = kept.start("drill", "blog", "--json")
    try:
        aside = eventually(lambda: container(kept, "drill_blog_db"), 300)
        # The proxy: what else servers have is closed to containers.
        door = f"exec 3<>/dev/tcp/{kept.lab.server('manager').ip}/443"
        reach = ("timeout", "5", "bash", "-c", door)
        there = kept.lab.server("manager").container
        shut = subprocess.run(["docker", "exec", there, "docker", "exec", aside, *reach])
        assert shut.returncode != 0
        # The same door is open to the live database.
        own = container(kept, "blog_db")
        assert own
        kept.on("manager", "docker", "exec", own, *reach)
    finally:
        out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, out + err
    (found,) = json.loads(out)
    assert (found["passed"], found["snapshot"]) == (True, made["id"])
    rounded = 0.05 * (1 + len(found["phases"]))  # Each to a tenth.
    assert 0 < sum(found["phases"].values()) <= found["seconds"] + rounded + 1e-9
    assert list(found["phases"]) == ["fetch", "load", "check", "start"]
    assert 0 <= found["age"] < 3600
    assert nothing_is_left(kept)
    assert kept.on("manager", "docker", "secret", "ls", "-q") == secrets
    assert live(kept) == before
    assert answers(kept, "blog", HEALTH)
    assert kept.plan() == []
    status = json.loads(kept.ronron("status", "--json")[0])
    (app,) = [one for one in status["apps"] if one["name"] == "blog"]
    assert app["drill"]["passed"]


def test_an_app_is_handed_over_whole(kept: Operator, snapshot: str, tmp_path: Path) -> None:
    file = tmp_path / "blog.tar.gz"
    kept.ronron("backup", "export", "blog", str(file), "--at", snapshot)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["blog.tar.gz"]
    with tarfile.open(file) as archive:
        entries = {entry.name: entry for entry in archive}
        contents = {
            name: (archive.extractfile(entry) or io.BytesIO()).read()
            for name, entry in entries.items()
            if entry.isreg()
        }
    # Byte for byte, with owners and modes, and nothing is missing.
    listing = ("find", VOLUME, "-printf", "./%P\t%y\t%U:%G\t%m\n")
    found = [line.split("\t") for line in kept.on("manager", *listing).splitlines()]
    wanted = {f"blog/volumes/content{path[1:]}".rstrip("/"): about for path, *about in found}
    kinds = {tarfile.REGTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l"}
    held = {
        name: [kinds[entry.type], f"{entry.uid}:{entry.gid}", f"{entry.mode:o}"]
        for name, entry in entries.items()
        if name.startswith("blog/volumes/")
    }
    for name, (kind, owner, mode) in wanted.items():
        assert held[name][:2] == [kind, owner], name
        assert kind == "l" or held[name][2] == mode, name
    assert set(held) == set(wanted)
    sums = kept.on("manager", "find", VOLUME, "-type", "f", "-exec", "sha256sum", "{}", "+")
    for line in sums.splitlines():
        digest, path = line.split(maxsplit=1)
        name = path.replace(VOLUME, "blog/volumes/content")
        assert hashlib.sha256(contents[name]).hexdigest() == digest, name
    assert PICTURE in "\n".join(contents)
    dump = contents["blog/databases/db.sql"]
    assert PICTURE.encode() in dump
    assert b"-- Dump completed" in dump[-200:]
    # The Compose file is one that Docker reads, and knows nothing of the site.
    compose = contents["blog/compose.yml"].decode()
    assert "ronron" not in compose.replace("# Ghost", "")
    server = kept.lab.server("manager").container
    words = ["docker", "exec", "-i", server, "docker", "stack", "config", "-c", "-"]
    text = compose.replace("name: blog\n", "", 1)
    done = subprocess.run(words, input=text.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr
    shown = json.loads(kept.ronron("secrets", "show", "blog", "--reveal", "--json")[0])
    everything = b"".join(contents.values())
    assert not [name for name, value in shown.items() if value.encode() in everything]
    # With its passwords, when that is asked for.
    kept.ronron("backup", "export", "blog", str(tmp_path / "all.tar"), "--with-secrets", "--yes")
    with tarfile.open(tmp_path / "all.tar") as archive:
        file_ = archive.extractfile("blog/secrets/db_password")
        assert file_
        assert file_.read().decode() == shown["db_password"]


def test_an_export_that_fails_leaves_no_file(kept: Operator, tmp_path: Path) -> None:
    _, err = kept.ronron("backup", "export", "nobody", str(tmp_path / "x.tar"), status=1)
    assert "nobody: there is no snapshot" in err
    _, err = kept.ronron("backup", "export", "blog", str(tmp_path / "x.zip"), status=2)
    assert "ends with none of" in err
    assert list(tmp_path.iterdir()) == []
