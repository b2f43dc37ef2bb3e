"""restic on a server: its commands, what it answers in JSON, and what its failures mean.

Exit statuses and the messages of `--json` are those of restic's own documentation, versions 0.17
and 0.18.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from ronron.backup import sealed
from ronron.backup.repository import Repository
from ronron.errors import OperatorError, RonronError
from ronron.events import Event, Report, ignore
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from ronron.site.backup import Keep

NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12
INCOMPLETE = 3
LOCK_WAIT = "2m"
"""How long a command waits for another that holds the repository's lock."""

TOLERANCE = timedelta(minutes=5)
"""How far two clocks may differ: a snapshot that is newer than that is from the future."""


class NoRepository(OperatorError):
    """There is no repository at the place that the site names."""


class _Locked(RonronError):
    """Another program holds the repository's lock, or one that is gone has left it."""


@dataclass(frozen=True)
class Snapshot:
    """What restic keeps of one app at one time; `size` in bytes, of all that it holds."""

    id: str
    app: str
    time: datetime
    paths: tuple[str, ...]
    size: int = 0
    files: int = 0

    @property
    def short_id(self) -> str:
        """The first eight digits of the id, as restic shows it."""
        return self.id[:8]


@dataclass(frozen=True)
class Entry:
    """A file or folder in a snapshot; size in bytes."""

    path: str
    kind: str
    size: int


@dataclass(frozen=True)
class Restic:
    """The repository, worked with on the server behind `runner`. `site` is the snapshots' host."""

    runner: Runner
    repository: Repository
    site: str
    report: Report = field(default=ignore)

    def init(self) -> bool:
        """Create the repository; False when it is there already, with this password."""
        try:
            self._run("cat", "config")
        except NoRepository:
            self._run("init")
            return True
        return False

    def snapshots(self, app: str | None = None) -> tuple[Snapshot, ...]:
        """The site's snapshots, or those of one app, oldest first.

        Without a lock: it only reads the list, and may do that while others work.
        """
        tag = ["--tag", tag_of(app)] if app else []
        (listed,) = self._run("snapshots", "--no-lock", "--host", self.site, *tag)
        found = (_snapshot(item) for item in listed or ())
        return tuple(sorted((one for one in found if one), key=lambda one: one.time))

    def backup(self, app: str, paths: Sequence[str]) -> str:
        """Make a snapshot of `paths` for `app`; its id, which only `snapshots` shows to be there.

        Raises RonronError when a file could not be read.
        """
        arguments = ["--host", self.site, "--tag", tag_of(app), "--group-by", "host,tags"]
        lines = self._run("backup", *arguments, "--exclude-caches", "--", *paths, where=app)
        made = [line["snapshot_id"] for line in lines if line.get("message_type") == "summary"]
        return str(made[0]) if made else ""

    def entries(self, snapshot: str, *below: str) -> tuple[Entry, ...]:
        """What a snapshot holds directly in and under the folders `below`, or all of it."""
        lines = self._run("ls", "--recursive" if below else "--long", snapshot, *below)
        return tuple(
            Entry(line["path"], line["type"], line.get("size", 0))
            for line in lines
            if line.get("struct_type") == "node" or line.get("message_type") == "node"
        )

    def content(self, snapshot: Snapshot, path: str) -> str:
        """The text of one file of a snapshot."""
        lines: list[str] = []
        order = self.repository.order("--quiet", "dump", snapshot.id, path)
        ended = sealed.run(self.runner, order, lines.append)
        if ended.status:
            raise self._failure("dump", ended.status, ended.errors, snapshot.app)
        return "\n".join(lines)

    @contextmanager
    def archive(self, snapshot: Snapshot, path: str = "/") -> Iterator[IO[bytes]]:
        """A folder of a snapshot, or all of it, as a stream in tar's format, to be read to its end.

        Raises RonronError at the end of the context when restic did not send all of it.
        """
        order = self.repository.order("--quiet", "dump", "--archive", "tar", snapshot.id, path)
        with sealed.start(self.runner, order) as running:
            try:
                yield running.output
            except tarfile.TarError as error:
                raise RonronError(
                    f"{snapshot.app}: restic did not send the whole snapshot",
                    remedy="see whether the repository can be reached from the server",
                ) from error
            while running.output.read(1 << 16):
                pass  # What pads the end of an archive.
            ended = running.ended()
        if ended.status:
            raise self._failure("dump", ended.status, ended.errors, snapshot.app)

    def restore(self, snapshot: Snapshot, target: str, only: Iterable[str] = ()) -> None:
        """Write a snapshot's files below the folder `target`, and verify them as written.

        `only` names the paths to restore; all of them otherwise.
        """
        chosen = [word for path in only for word in ("--include", _literal(path))]
        self._run(
            "restore", snapshot.id, "--target", target, "--verify", *chosen, where=snapshot.app
        )

    def check(self, subset: str = "") -> None:
        """Check the repository; with `subset` (`5%`, `1/52`) read that part of its data too.

        Raises RonronError with what restic found.
        """
        self._run("check", *([f"--read-data-subset={subset}"] if subset else []))

    def forget(self, keep: Mapping[str, Keep]) -> list[str]:
        """Forget what `keep` does not cover, by app; the ids of those snapshots.

        Durations alone decide: a count could be used up by somebody who adds snapshots. restic 0.18
        ends well where the repository's server refuses to delete: `snapshots` tells what went.
        """
        gone: list[str] = []
        for rule in dict.fromkeys(keep.values()):
            tags = [word for app in keep if keep[app] == rule for word in ("--tag", tag_of(app))]
            words = [
                *("--keep-within", rule.every, "--keep-within-daily", rule.daily),
                *("--keep-within-weekly", rule.weekly, "--keep-within-monthly", rule.monthly),
            ]
            where = ["--host", self.site, "--group-by", "host,tags"]
            groups = self._run("forget", *where, *tags, *words)
            listed = groups[0] if groups and isinstance(groups[0], list) else []
            gone += [one["id"] for group in listed for one in group.get("remove") or ()]
        return gone

    def forget_these(self, ids: Sequence[str]) -> None:
        """Forget the snapshots named, as `forget`."""
        self._run("forget", *ids)

    def prune(self) -> None:
        """Free the space of what was forgotten."""
        self._run("prune")

    def unlock(self) -> None:
        """Remove the locks of programs that are gone."""
        self._once(["unlock"], "")

    def _run(self, *arguments: str, where: str = "") -> list[Any]:
        """Run restic with `--json`; returns its lines, parsed. Raises what its failure means.

        Locks of programs that are gone are removed when one is in the way, and then only is a lock
        waited for: to look for them each time would take restic a second.
        """
        try:
            return self._once(arguments, where)
        except _Locked:
            self.unlock()
            return self._once(arguments, where, "--retry-lock", LOCK_WAIT)

    def _once(self, arguments: Sequence[str], where: str, *options: str) -> list[Any]:
        lines: list[Any] = []
        failures: list[str] = []

        def line(text: str) -> None:
            for message in _parsed(text):
                kind = message.get("message_type") if isinstance(message, Mapping) else ""
                if kind in ("status", "verbose_status"):
                    self._progress(arguments[0], where, message)
                elif kind == "error":
                    failures.append(_reason(message))
                elif kind == "exit_error":
                    failures.append(str(message.get("message", "")))
                else:
                    lines.append(message)

        ended = sealed.run(self.runner, self.repository.order("--json", *options, *arguments), line)
        if ended.status:
            said = [*failures]
            for text in ended.errors:
                parsed = [m for m in _parsed(text) if isinstance(m, Mapping)]
                said += [_reason(m) for m in parsed] or [text]
            raise self._failure(arguments[0], ended.status, [one for one in said if one], where)
        return lines

    def _progress(self, command: str, where: str, message: Mapping[str, Any]) -> None:
        done, total = (
            message.get("bytes_done") or message.get("bytes_restored"),
            message.get("total_bytes"),
        )
        if done and total:
            self.report(Event(command, where, detail=f"{done / total:.0%} of {size(total)}"))

    def _failure(self, command: str, status: int, said: Sequence[str], where: str) -> RonronError:
        place = self.repository.location
        if status == NO_REPOSITORY:
            return NoRepository(f"{place}: there is no repository", remedy="ronron backup init")
        if status == WRONG_PASSWORD:
            return OperatorError(
                f"{place}: was made with another password than the one in vault/backup.age",
                remedy="take the vault's file from git, or choose another repository",
            )
        if status == LOCKED:
            return _Locked(
                f"{place}: another restic works with it: {_first(said)}",
                remedy="wait until that is done; ronron backup unlock removes locks of the dead",
            )
        if status == 127:
            return RonronError(
                f"{self.runner.name}: {_first(said)}", remedy="ronron apply installs it"
            )
        prefix = f"{where}: " if where else ""
        if status == INCOMPLETE:
            return RonronError(
                f"{prefix}not everything could be read: {_first(said)}",
                remedy="the snapshot is not counted; correct it and back up again",
                details=said[1:],
            )
        return RonronError(
            f"{prefix}restic {command} failed: {_first(said) or f'status {status}'}",
            remedy=_remedy(said, self.repository),
            details=said[1:],
        )


def tag_of(app: str) -> str:
    """The tag of an app's snapshots."""
    return f"app={app}"


def size(count: float) -> str:
    """Bytes as a person reads them, in powers of 1,024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def past(snapshots: Iterable[Snapshot], now: datetime) -> list[Snapshot]:
    """Those that are not from the future: a clock that was wrong makes none the newest."""
    return [one for one in snapshots if one.time <= now + TOLERANCE]


def choose(
    snapshots: Sequence[Snapshot], app: str, at: str | None = None, now: datetime | None = None
) -> Snapshot:
    """The newest snapshot of `app`, or what `at` says: an id, or the latest time that it may have.

    One that is from the future at `now` (the default: when this is called) is taken by its id
    alone. Raises RonronError when there is none, OperatorError when `at` is neither.
    """
    mine = [one for one in snapshots if one.app == app]
    if not mine:
        raise RonronError(
            f"{app}: there is no snapshot", remedy="ronron backups lists what there is"
        )
    if at is not None and re.fullmatch(r"[0-9a-f]{8,64}", at):
        found = [one for one in mine if one.id.startswith(at)]
        if not found:
            raise OperatorError(f"{app} has no snapshot {at}", remedy=f"ronron backups {app}")
        return found[-1]
    limit = _time(at) if at is not None else None
    counted = past(mine, now or datetime.now(UTC))
    if not counted:
        raise RonronError(
            f"{app}: every snapshot is from the future",
            remedy=f"set the clocks; ronron restore {app} --at {mine[-1].short_id} takes this one",
        )
    if limit is None:
        return counted[-1]
    before = [one for one in counted if one.time <= limit]
    if not before:
        raise OperatorError(
            f"{app} has no snapshot from before {at}: the oldest is of "
            f"{mine[0].time.astimezone():%Y-%m-%d %H:%M}",
            remedy=f"ronron backups {app}",
        )
    return before[-1]


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError(
            f"--at {text}: is neither a snapshot nor a time",
            remedy="an id of 8 digits or more, 2026-11-20, or 2026-11-20T08:00",
        ) from None
    if len(text) <= len("2026-11-20"):
        found = found.replace(hour=23, minute=59, second=59)
    return found.astimezone() if found.tzinfo is None else found


def _parsed(text: str) -> Iterator[Any]:
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            yield json.loads(text)
        except ValueError:
            return


def _reason(message: Mapping[str, Any]) -> str:
    inner = message.get("error")
    said = inner.get("message") if isinstance(inner, Mapping) else inner
    item = message.get("item")
    text = str(said or message.get("message") or "")
    return f"{item}: {text}" if item and item not in text else text


def _first(said: Sequence[str]) -> str:
    return re.sub(r"^Fatal: ", "", said[0]).strip() if said else ""


def _remedy(said: Sequence[str], repository: Repository) -> str:
    text = " ".join(said).lower()
    if "no space left" in text:
        return "the disk is full: make room, then do it again"
    if "host key verification" in text and repository.host:
        return f"pin its key: ronron backup init asks for {repository.host}'s"
    if "unknown command" in text or "unknown flag" in text or "unknown shorthand" in text:
        return "restic 0.17 or newer is needed: Debian 13 has it"
    return "see whether the repository can be reached from the server"


def _snapshot(item: Mapping[str, Any]) -> Snapshot | None:
    tags = item.get("tags") or []
    apps = [tag.removeprefix("app=") for tag in tags if tag.startswith("app=")]
    if not apps:
        return None
    # Fractions of seconds have nine digits.
    time = re.sub(r"(\.\d{6})\d*", r"\1", item["time"])
    summary = item.get("summary") or {}
    return Snapshot(
        item["id"],
        apps[0],
        datetime.fromisoformat(time),
        tuple(str(PurePosixPath(path)) for path in item["paths"]),
        summary.get("total_bytes_processed", 0),
        summary.get("total_files_processed", 0),
    )


def _literal(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)
