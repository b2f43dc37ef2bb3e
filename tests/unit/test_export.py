"""An app handed over: the archive's names, owners and modes, and what must not be in it."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import tarfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ronron.backup.export import Exported, write
from ronron.backup.repository import Repository
from ronron.backup.restic import Restic, Snapshot
from ronron.catalog import portable
from ronron.catalog.recipe import find, names
from ronron.catalog.render import render
from ronron.catalog.stack import Stack
from ronron.errors import OperatorError, RonronError
from ronron.plan.exporting import compression, packed, whole
from ronron.servers.local import LocalRunner
from ronron.site.models import App, Site
from ronron.site.secret import Secret

RELAY = {"host": "relay.example.net", "user": "relay-user", "from": "sites@example.net"}
SITE = Site.model_validate(
    {"name": "hoster", "domain": "example.org", "contact": "me@hoster.net", "mail": RELAY}
)
HIDDEN = ("me@hoster.net", "hoster", "relay.example.net", "relay-user", "sites@example.net")
APPS = [name for name in names() if find(name).extension.category != "platform"]
SNAPSHOT = Snapshot("a" * 64, "blog", datetime(2026, 11, 20, 2, tzinfo=UTC), ())
DUMP = b"CREATE TABLE posts;\n-- Dump completed\n"
PICTURE = bytes(range(256)) * 40


def stack_of(name: str) -> Stack:
    recipe = find(name)
    required = {
        key: rule.choices[0] if rule.choices else "x@example.org"
        for key, rule in recipe.extension.parameters.items()
        if rule.required
    }
    app = App.model_validate({"name": "blog", "recipe": name, "parameters": required})
    secrets = {secret: f"blog_{secret}_0123456789" for secret in recipe.extension.secrets}
    return render(app, recipe, SITE, secrets)


@pytest.mark.parametrize("name", APPS)
def test_a_plain_compose_file_knows_nothing_of_the_site(name: str) -> None:
    stack = stack_of(name)
    images = {image.service: image.upstream for image in stack.images}
    files = [volume.name for volume in stack.volumes if volume.kind == "files"]
    plain = portable.compose("blog", json.loads(stack.text), images, files, HIDDEN)
    text = yaml.safe_dump(plain)
    words = ("ronron.internal", "ronron.app", "ronron_", "traefik", "external", "nocopy")
    for word in (*words, "placement", *HIDDEN[2:]):
        assert word not in text, word
    upstream = {image.upstream for image in stack.images}
    assert {body["image"] for body in plain["services"].values()} == upstream
    for body in plain["services"].values():
        for mount in body.get("volumes") or ():
            assert mount["type"] in ("volume", "bind", "tmpfs")
            if mount.get("source") in files:
                assert mount["source"] == f"./volumes/{mount['source']}"
    kept = {volume.name for volume in stack.volumes if volume.kind == "database"}
    assert set(plain.get("volumes", {})) == kept
    assert all(body["file"].startswith("./") for body in plain.get("secrets", {}).values())
    web = find(name).extension.web
    if web:
        assert plain["services"]["web"]["ports"][-1] == f"127.0.0.1:8080:{web.port}"


def archive(
    path: Path, stack: Stack, *, configs: bool = True, dump: bytes = DUMP, first_id: int = 0
) -> None:
    """What restic sends of a snapshot, as a tar file."""
    about: dict[str, Any] = {
        "first_id": first_id,
        "domain": "blog.example.org",
        "images": {image.service: image.upstream for image in stack.images},
        "volumes": [{"name": v.name, "class": v.kind, "uid": v.uid, "gid": v.gid}
                    for v in stack.volumes],
        "dumps": [{"database": "db", "engine": "mariadb", "size": len(DUMP),
                   "path": "/srv/ronron/backups/blog/db.dump"}],
    }  # fmt: skip
    own = "srv/ronron/backups/blog"
    files = {
        f"{own}/about/about.json": json.dumps(about).encode(),
        f"{own}/about/app.json": b'{"name": "blog", "recipe": "ghost"}',
        f"{own}/about/stack.json": stack.text.encode(),
        f"{own}/about/vault.age": b"encrypted",
    }
    if configs:
        files[f"{own}/about/configs/with_settings"] = b"#!/bin/sh\n"
        files[f"{own}/about/configs/change_password"] = b"#!/bin/sh\n"
    files[f"{own}/db.dump"] = dump
    files["srv/ronron/volumes/blog/content/images/cat.png"] = PICTURE
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as target:
        folder = tarfile.TarInfo("srv/ronron/volumes/blog/content")
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o750, 1000, 1000
        target.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o640, 1000, 1000
            entry.pax_headers = {"SCHILY.xattr.user.note": "kept", "path": name}
            target.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("srv/ronron/volumes/blog/content/latest")
        link.type, link.linkname, link.uid = tarfile.SYMTYPE, "images/cat.png", 1000
        target.addfile(link)


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Restic:
    """A restic that sends `sent.tar`, and ends with the status in `status`."""
    script = tmp_path / "bin" / "restic"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/sent.tar\nexit `cat {tmp_path}/status`\n")
    script.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return Restic(LocalRunner(), Repository("/srv/r", {"password": Secret("p")}), "s")


def exported(restic: Restic, secrets: dict[str, str] | None = None) -> tuple[Exported, bytes]:
    output = io.BytesIO()
    done = write(restic, SNAPSHOT, output, "gz", lambda _: find("ghost"), secrets, HIDDEN)
    return done, output.getvalue()


def test_the_archive_holds_all_that_is_theirs(tmp_path: Path, restic: Restic) -> None:
    archive(tmp_path / "sent.tar", stack_of("ghost"))
    done, data = exported(restic)
    assert (done.volumes, done.databases, done.missing) == (("content",), ("db",), ())
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        entries = {entry.name: entry for entry in found}
        contents = {
            name: file.read()
            for name, entry in entries.items()
            if (file := found.extractfile(entry))
        }
    assert set(entries) == {
        "blog/README.md", "blog/compose.yml", "blog/configs/change_password",
        "blog/configs/with_settings", "blog/databases/db.sql", "blog/volumes/content",
        "blog/volumes/content/images/cat.png", "blog/volumes/content/latest",
    }  # fmt: skip
    assert contents["blog/databases/db.sql"] == DUMP
    assert contents["blog/volumes/content/images/cat.png"] == PICTURE
    picture = entries["blog/volumes/content/images/cat.png"]
    assert (picture.uid, picture.gid, picture.mode) == (1000, 1000, 0o640)
    assert picture.pax_headers == {"SCHILY.xattr.user.note": "kept"}
    assert entries["blog/volumes/content"].mode == 0o750
    assert entries["blog/volumes/content/latest"].linkname == "images/cat.png"
    # Compose takes a config's mode from the file.
    assert entries["blog/configs/with_settings"].mode == 0o555
    readme = contents["blog/README.md"].decode()
    assert "docker compose exec -T db sh -c" in readme
    assert "< databases/db.sql" in readme
    assert "openssl rand -hex 16 | tr -d '\\n' > secrets/db_password" in readme
    # The archive's own commands are those of a shell.
    blocks = [line[4:] for line in readme.splitlines() if line.startswith("    ")]
    subprocess.run(["sh", "-n", "-c", "\n".join(blocks)], check=True)


def test_owners_are_those_that_the_containers_know(tmp_path: Path, restic: Restic) -> None:
    archive(tmp_path / "sent.tar", stack_of("ghost"), first_id=1000)
    _, data = exported(restic)
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        entries = {entry.name: (entry.uid, entry.gid) for entry in found}
    assert entries["blog/volumes/content/images/cat.png"] == (0, 0)
    # Its group is root's of the server: nobody to the containers.
    assert entries["blog/volumes/content/latest"] == (0, 0)


def test_passwords_are_in_it_only_when_asked_for(tmp_path: Path, restic: Restic) -> None:
    archive(tmp_path / "sent.tar", stack_of("ghost"))
    _, data = exported(restic)
    assert b"encrypted" not in data
    done, data = exported(restic, {"db_password": "hush", "db_root_password": "hush2"})
    assert done.databases == ("db",)
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        file = found.extractfile("blog/secrets/db_password")
        assert file
        assert file.read() == b"hush"
        assert stat.S_IMODE(found.getmember("blog/secrets/db_password").mode) == 0o444


def test_what_an_older_snapshot_does_not_have_is_said(tmp_path: Path, restic: Restic) -> None:
    archive(tmp_path / "sent.tar", stack_of("ghost"), configs=False)
    done, data = exported(restic)
    assert set(done.missing) == {"with_settings", "change_password"}
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        file = found.extractfile("blog/README.md")
        assert file
        assert "`configs/with_settings` was not kept" in file.read().decode()


def test_a_snapshot_that_is_not_sent_whole_is_a_failure(tmp_path: Path, restic: Restic) -> None:
    archive(tmp_path / "sent.tar", stack_of("ghost"), dump=DUMP[:10])
    with pytest.raises(RonronError, match="does not hold the dump of db whole"):
        exported(restic)
    archive(tmp_path / "sent.tar", stack_of("ghost"))
    (tmp_path / "status").write_text("1")
    with pytest.raises(RonronError, match="restic dump failed"):
        exported(restic)
    whole = (tmp_path / "sent.tar").read_bytes()
    (tmp_path / "sent.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RonronError, match="did not send the whole snapshot"):
        exported(restic)


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "zstd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho packed\ncat\nexit `cat $0.status`\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    file = tmp_path / "out" / "blog.tar.zst"
    file.parent.mkdir()
    assert compression(file) == "zst"
    for status in ("1", "0"):
        Path(f"{tool}.status").write_text(status)
        with (
            nullcontext() if status == "0" else pytest.raises(RonronError, match="zstd failed"),
            whole(file) as out,
            packed(out, "zst") as target,
        ):
            target.write(b"data")
        assert [path.name for path in file.parent.iterdir()] == [file.name] * (status == "0")
    assert file.read_bytes() == b"packed\ndata"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def interrupted() -> None:
        with whole(file) as out:
            out.write(b"other")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert file.read_bytes() == b"packed\ndata"
    with pytest.raises(OperatorError, match="cannot be written"), whole(tmp_path / "no" / "x.tar"):
        pass


def test_the_name_says_the_compression() -> None:
    assert compression(Path("/x/blog.tar.gz")) == compression(Path("blog.tgz")) == "gz"
    assert compression(Path("blog.tar")) == ""
    with pytest.raises(OperatorError, match=r"blog\.zip: ends with none of \.tar, "):
        compression(Path("blog.zip"))
