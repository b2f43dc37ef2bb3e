"""Backups: where a repository is, what restic is told and answers, and what counts."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import tarfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ronron.backup import dump, sealed
from ronron.backup.app import BACKUPS, Backed, Protected, Sent, back_up, seen
from ronron.backup.repository import Repository
from ronron.backup.restic import TOLERANCE, NoRepository, Restic, Snapshot, choose, size
from ronron.backup.restore import Choice, Target, restore
from ronron.backup.state import State
from ronron.catalog.recipe import find
from ronron.catalog.stack import Volume
from ronron.errors import OperatorError, RonronError
from ronron.events import ignore
from ronron.plan import watching
from ronron.plan.backups import Failed, _seen
from ronron.plan.repository import _gone
from ronron.servers.local import LocalRunner
from ronron.servers.recording import RecordingRunner
from ronron.site.backup import Keep
from ronron.site.load import load_site
from ronron.site.secret import Secret
from ronron.swarm.engines import engine_of
from swarm_api import Engine, served

SITE = "name: s\ndomain: example.org\ncontact: a@example.org\nbackup: {repository: REPOSITORY}\n"


writes_to_run = pytest.mark.skipif(
    not os.access("/run", os.W_OK), reason="only root can write to /run"
)


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in {"password": "pass word", **values}.items()}


def loaded(folder: Path, repository: str) -> str:
    (folder / "ronron.yml").write_text(SITE.replace("REPOSITORY", json.dumps(repository)))
    settings = load_site(folder).site.backup
    assert settings
    return settings.repository


@pytest.mark.parametrize(
    "repository",
    [
        "/mnt/backup",
        "sftp:backup@nas.example.net:/srv/restic",
        "rest:https://backup.example.net:8000/site/",
        "rest:http://10.0.0.1/",
        "s3:https://s3.example.net/bucket",
        "rclone:my remote:folder/site",
    ],
)
def test_a_repository_is_taken_as_it_is_written(tmp_path: Path, repository: str) -> None:
    assert loaded(tmp_path, repository) == repository


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("backup", "'backup' is not a repository that ronron knows"),
        ("/", "not a repository"),
        ("/srv/../etc", "not a repository"),
        ("s3:https://s3.example.net", "not a repository"),
        ("rest:https://ada:secret@backup.example.net/", "ronron secrets set backup"),
        ("s3:https://key:secret@s3.example.net/bucket", "s3_key and s3_secret"),
        ("sftp:nas:/srv", "sftp:USER@HOST:/PATH"),
        ("sftp:-oProxyCommand=x@nas:/srv", "not a repository"),
        ("b2:bucket", "not a repository"),
        ("rest:https://x/\n--password-command=x", "not a repository"),
    ],
)
def test_what_is_no_repository_is_said_and_no_login_is_shown(
    tmp_path: Path, repository: str, said: str
) -> None:
    with pytest.raises(OperatorError, match=r"backup\.repository") as caught:
        loaded(tmp_path, repository)
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_durations_are_restics(tmp_path: Path) -> None:
    Keep(every="12h", daily="1y6m", weekly="2y5m7d3h")
    text = SITE.replace("REPOSITORY", "/r").replace("}", ", keep: {daily: 14}}")
    (tmp_path / "ronron.yml").write_text(text)
    with pytest.raises(OperatorError, match=r"backup\.keep\.daily: must be text"):
        load_site(tmp_path)
    (tmp_path / "ronron.yml").write_text(text.replace("14", "14 days"))
    with pytest.raises(OperatorError, match="is not a duration"):
        load_site(tmp_path)


@pytest.mark.parametrize(
    ("repository", "values"),
    [
        (Repository("/r"), {}),
        (Repository("s3:https://h/b"), {"s3_key": "the-key", "s3_secret": "the-secret"}),
        (Repository("rest:https://h:8/x"), {"rest_user": "ada", "rest_password": "pä:ss/@"}),
        (Repository("sftp:u@h:/r"), {"sftp_key": "the-private-key"}),
        (Repository("rclone:a:b"), {"rclone_config": "[a]\ntype = local"}),
    ],
)
def test_no_secret_is_an_argument(repository: Repository, values: dict[str, str]) -> None:
    known = secrets(**values)
    order = Repository(repository.location, known, ca="PEM").order("snapshots")
    words = " ".join(order.argv)
    assert order.argv[0] == "restic"
    assert order.argv[-1] == "snapshots"
    assert not [value for value in ("pass word", *values.values()) if value in words]
    assert "pass word" not in repr(order)
    assert order.files["password"] == "pass word"
    if "rest_user" in values:
        assert order.files["repository"] == "rest:https://ada:p%C3%A4%3Ass%2F%40@h:8/x"
    if "sftp_key" in values:
        assert order.files["key"].endswith("\n")
        assert "StrictHostKeyChecking=yes" in words


def test_a_missing_login_is_said_with_the_command_that_sets_it() -> None:
    with pytest.raises(OperatorError, match="ronron backup init"):
        Repository("/r").order("snapshots")
    with pytest.raises(OperatorError, match="ronron secrets set backup s3_secret"):
        Repository("s3:https://h/b", secrets(s3_key="k")).order("snapshots")


@writes_to_run
def test_secrets_are_files_that_are_gone_with_the_program() -> None:
    look = (
        "import json, os, pathlib, sys; p = pathlib.Path(sys.argv[1]);"
        "print(json.dumps([str(p), p.read_text(), oct(p.stat().st_mode & 0o777),"
        " oct(p.parent.stat().st_mode & 0o777), os.environ['WHERE']]))"
    )
    order = sealed.Order(
        (sys.executable, "-c", look, f"{sealed.FOLDER}/password"),
        {"WHERE": f"{sealed.FOLDER}/x"},
        {"password": "pass word"},
    )
    lines: list[str] = []
    assert sealed.run(LocalRunner(), order, lines.append).status == 0
    path, content, mode, folder_mode, where = json.loads(lines[0])
    assert (content, mode, folder_mode) == ("pass word", "0o600", "0o700")
    assert Path(where).parent == Path(path).parent
    assert not Path(path).parent.exists()


@writes_to_run
def test_a_program_ends_with_whoever_started_it() -> None:
    script = "import signal, time; print('begun', flush=True); time.sleep(600)"
    order = sealed.Order((sys.executable, "-c", script))

    class Gone(Exception):
        pass

    def line(text: str) -> None:
        raise Gone(text)

    with pytest.raises(Gone, match="begun"):
        sealed.run(LocalRunner(), order, line)


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, *lines: str) -> Restic:
    """A restic that says `lines` and ends with `status`, whatever it is asked; the file `asked`
    says what that was."""
    program = tmp_path / "restic"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({chr(10).join(lines)!r})\n"
        f"open({str(tmp_path / 'asked')!r}, 'a').write(' '.join(sys.argv) + chr(10))\n"
        f"sys.exit({status})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Restic(LocalRunner(), Repository("/r", secrets()), "s")


FATAL = '{"message_type":"exit_error","code":1,"message":"Fatal: unable to open"}'


@writes_to_run
@pytest.mark.parametrize(
    ("status", "line", "kind", "said"),
    [
        (10, FATAL, NoRepository, "there is no repository (ronron backup init)"),
        (12, FATAL, OperatorError, "another password"),
        (11, FATAL, RonronError, "ronron backup unlock"),
        (1, FATAL, RonronError, "restic snapshots failed: unable to open"),
        (1, "", RonronError, "restic snapshots failed: status 1"),
        (
            3,
            '{"message_type":"error","error":{"message":"EIO"},"item":"/x"}',
            RonronError,
            "/x: EIO",
        ),
    ],
)
def test_what_a_failure_of_restic_means(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    line: str,
    kind: type[RonronError],
    said: str,
) -> None:
    restic = answering(tmp_path, monkeypatch, status, line)
    with pytest.raises(kind) as caught:
        restic.snapshots()
    assert said in str(caught.value)


def snapshot(id: str, day: int, app: str = "blog") -> Snapshot:
    return Snapshot(id * 8, app, datetime(2026, 11, day, 12, tzinfo=UTC), ())


NOW = datetime(2026, 11, 7, tzinfo=UTC)


def test_a_snapshot_is_chosen_by_time_or_by_id() -> None:
    known = [snapshot("a", 1), snapshot("b", 3), snapshot("c", 5), snapshot("d", 6, "wiki")]
    assert choose(known, "blog", None, NOW) is known[2]
    assert choose(known, "blog", "2026-11-03", NOW) is known[1]
    assert choose(known, "blog", "2026-11-03T11:00+00:00", NOW) is known[0]
    assert choose(known, "blog", "aaaaaaaa", NOW) is known[0]
    for at, said in (
        ("dddddddd", "has no snapshot dddddddd"),
        ("2026-10-31", "the oldest is of 2026-11-01"),
        ("yesterday", "neither a snapshot nor a time"),
    ):
        with pytest.raises(OperatorError, match=said):
            choose(known, "blog", at, NOW)
    with pytest.raises(RonronError, match="shop: there is no snapshot"):
        choose(known, "shop", None, NOW)


def test_a_snapshot_from_the_future_is_chosen_by_its_id_alone() -> None:
    """Monday's, of a clock that was two days ahead; and Tuesday's, which is right."""
    tuesday, monday = snapshot("b", 3), snapshot("a", 4)
    now = datetime(2026, 11, 3, 12, tzinfo=UTC) - TOLERANCE
    assert choose([tuesday, monday], "blog", None, now) is tuesday
    assert choose([tuesday, monday], "blog", "2026-11-04", now) is tuesday
    assert choose([tuesday, monday], "blog", "aaaaaaaa", now) is monday
    for at in (None, "2026-11-04"):
        with pytest.raises(RonronError, match="every snapshot is from the future"):
            choose([monday], "blog", at, now)


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 3 * 2**30, 2**50)] == [
        "0 B", "1023 B", "1.0 KiB", "3.0 GiB", "1024.0 TiB",
    ]  # fmt: skip


STACK = {
    "services": {
        "web": {"image": "registry.ronron.internal:5000/ghost:6.0"},
        "db": {"image": "registry.ronron.internal:5000/mariadb:11.8"},
    }
}
CONTENT = {"app": {"recipe": "ghost"}, "stack": json.dumps(STACK), "recipe_digest": "0f1e2d3c"}


@dataclass
class Backup:
    """The backup of an app `blog` whose dump has nine bytes, with a restic that says `lines`."""

    restic: Restic
    storage: RecordingRunner = field(default_factory=lambda: RecordingRunner("storage"))
    engine: Engine = field(default_factory=Engine)

    def run(self) -> Sent:
        app = Protected("blog", find("ghost"), (DATA,), CONTENT, None)
        with served(self.engine) as manager, engine_of(manager) as client:
            return back_up(client, self.storage, self.restic, app, {DATA: self.storage}, ignore)

    def about(self) -> dict[str, Any]:
        """What the snapshot says of the app."""
        (packed,) = [call.stdin for call in self.storage.calls if call.stdin]
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            member = files.extractfile("about.json")
            assert member
            return dict(json.load(member))


DATA = Volume("blog", "data", "database", 999, 999, "0750", ("db",))
MADE = json.dumps({"message_type": "summary", "snapshot_id": "a" * 64})


@pytest.fixture
def dumped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job of a swarm makes the dump: it is taken for made."""
    made = dump.Dump("db", "mariadb", f"{BACKUPS}/blog/db.dump", 9)
    monkeypatch.setattr(dump, "make", lambda *_: made)


@writes_to_run
def test_a_snapshot_says_which_images_the_app_ran_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dumped: None
) -> None:
    backup = Backup(answering(tmp_path, monkeypatch, 0, MADE, dump_of(9)))
    backup.engine.pullable = {STACK["services"]["web"]["image"]}
    assert backup.run().id == "a" * 64
    about = backup.about()
    assert about["recipe_digest"] == "0f1e2d3c"
    assert list(about["digests"]) == ["web"]
    assert about["digests"]["web"].startswith("sha256:")


@writes_to_run
@pytest.mark.parametrize("listed", [[], [8]])
def test_a_snapshot_that_does_not_hold_the_dump_whole_is_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dumped: None, listed: list[int]
) -> None:
    backup = Backup(answering(tmp_path, monkeypatch, 0, MADE, *map(dump_of, listed)))
    with pytest.raises(RonronError, match="aaaaaaaa does not hold the dump of db whole"):
        backup.run()


def sent(id: str, app: str = "blog") -> Sent:
    return Sent(app, id * 64, (dump.Dump("db", "mariadb", f"{BACKUPS}/{app}/db.dump", 9),), own=4)


def listing(id: str, app: str = "blog") -> dict[str, Any]:
    """A snapshot of ten files, as restic lists it."""
    tags, summary = [f"app={app}"], {"total_bytes_processed": 7, "total_files_processed": 10}
    time, paths = "2026-11-27T02:00:00.123456789Z", [f"{BACKUPS}/{app}"]
    return {"id": id * 64, "time": time, "tags": tags, "paths": paths, "summary": summary}


def test_a_snapshot_counts_once_the_repository_lists_it() -> None:
    made = snapshot("b", 2)
    there = replace(made, id="a" * 64, files=10)
    assert seen(sent("a"), [made, there]) == Backed(there, sent("a").dumps, held=6)
    for listed in ([], [made]):
        with pytest.raises(RonronError, match=r"blog: .* the repository does not list it"):
            seen(sent("a"), listed)


@writes_to_run
def test_what_the_repository_does_not_list_has_failed_and_the_others_have_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = json.dumps([listing("a"), listing("c", "wiki")])
    repo = answering(tmp_path, monkeypatch, 0, lines)
    before = Failed("shop", RonronError("shop: the dump is empty"))
    listed, results = _seen(repo, [sent("a"), sent("b", "wiki"), before])
    assert listed is not None
    assert [one.id[0] for one in listed] == ["a", "c"]
    blog, wiki, shop = results
    assert isinstance(blog, Backed)
    assert (blog.snapshot.id, blog.held) == ("a" * 64, 6)
    assert isinstance(wiki, Failed)
    assert "does not list it" in wiki.error.message
    assert shop is before


@writes_to_run
def test_no_backup_counts_while_the_repository_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = answering(tmp_path, monkeypatch, 1, FATAL)
    before = Failed("shop", RonronError("shop: the dump is empty"))
    listed, (blog, shop) = _seen(repo, [sent("a"), before])
    assert listed is None
    assert isinstance(blog, Failed)
    assert (blog.app, "unable to open" in blog.error.message) == ("blog", True)
    assert shop is before


@writes_to_run
def test_what_the_repository_still_lists_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic ends well when the repository's server refuses to delete."""
    repo = answering(tmp_path, monkeypatch, 0, json.dumps([listing("a"), listing("c")]))
    kept: list[State] = []
    monkeypatch.setattr(watching, "read", lambda _: State())
    monkeypatch.setattr(watching, "write", lambda _, state: kept.append(state))
    session: Any = SimpleNamespace(manager=None)
    assert _gone(session, repo, ["b" * 64]) == 1
    with pytest.raises(RonronError, match="/r: refused to delete 1 of the 2 snapshots"):
        _gone(session, repo, ["a" * 64, "b" * 64])
    assert [state.apps["blog"].newest.id[0] for state in kept if state.apps["blog"].newest] == [
        "c", "c"
    ]  # fmt: skip


def dump_of(size: int) -> str:
    """The dump of blog's database, as restic lists a snapshot's files."""
    path = f"{BACKUPS}/blog/db.dump"
    return json.dumps({"message_type": "node", "path": path, "type": "file", "size": size})


@writes_to_run
@pytest.mark.parametrize(
    ("choice", "free", "known", "said"),
    [
        (Choice(), (50, 50), False, "may take 60.2 GiB of disk, and storage has 50.0 GiB to spare"),
        (Choice(), (61, 9), False, "may take 10.2 GiB of disk, and worker has 9.0 GiB to spare"),
        (Choice(), (61, 9), True, "may take 10.2 GiB of disk, and worker has 9.0 GiB to spare"),
        (
            Choice(frozenset()),
            (10, 50),
            True,
            "may take 10.2 GiB of disk, and storage has 10.0 GiB",
        ),
    ],
)
def test_a_restore_that_does_not_fit_is_not_begun(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: Choice,
    free: tuple[int, int],
    known: bool,
    said: str,
) -> None:
    """60 GiB, of which 10 are a dump, that is loaded on another server; the repository is asked
    unless all is to be restored and the dump's size is known."""
    restic = answering(tmp_path, monkeypatch, 0, dump_of(10 << 30))
    storage, worker = (
        RecordingRunner(name, answers={"sh": f"Avail\n{count << 30}\n".encode()})
        for name, count in zip(("storage", "worker"), free, strict=True)
    )
    recipe = find("ghost")
    volumes = tuple(
        Volume("blog", name, rule.kind, rule.uid, rule.gid, rule.mode, ())
        for name, rule in recipe.extension.volumes.items()
    )
    place = {volume: storage if volume.kind == "files" else worker for volume in volumes}
    target = Target(Protected("blog", recipe, volumes, {}, None), place)
    held = (f"{BACKUPS}/blog", "/srv/ronron/volumes/blog/content")
    wanted = Snapshot("a" * 64, "blog", datetime(2026, 11, 1, tzinfo=UTC), held, 60 << 30)
    with pytest.raises(RonronError, match=f"blog: the restore {said}") as caught:
        restore(
            None, storage, storage, restic, wanted, target, choice, lambda: None, ignore,  # type: ignore[arg-type]
            {"db": 10 << 30} if known else None,
        )  # fmt: skip
    assert "make room in /srv/ronron/volumes there" in str(caught.value)
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert (" ls " in asked) is not (known and choice == Choice())
    assert " restore " not in asked
