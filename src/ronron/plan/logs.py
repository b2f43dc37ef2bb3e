"""Log lines: asked for in the site's log store, or from where they come when it is not there."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

from ronron.catalog.stack import PLATFORM
from ronron.errors import OperatorError, RonronError
from ronron.plan.inside import container_of, log_lines, service_names
from ronron.plan.session import Session
from ronron.servers.provision import requests
from ronron.servers.runner import Runner
from ronron.servers.shipping import PROXY
from ronron.site.logs import store_of

RECIPE = "logs"
"""The recipe of the store that is read here."""

SECONDS = 60.0
EVERY = 2.0
"""Seconds after which those who follow ask again."""

LATE = 30
"""Seconds after which a line that comes to the store is not shown to them any more."""

MOST_AT_ONCE = 10_000
LATELY = timedelta(hours=1)
"""How far back is looked without a store, where nobody says."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")

Line = dict[str, Any]
"""The fields of a line: `time`, `server`, `message`; `app`, `service`; those of a request."""


@dataclass(frozen=True)
class Wanted:
    """Which lines are asked for: of the class `kind`, and of the app or server `of`.

    Those with `search` in them, whichever case; of requests those with `status` (`404`, `5xx`);
    not older than `since`; the last `tail`, and with `follow` all that come.
    """

    kind: Literal["access", "app", "system"]
    of: str
    service: str | None = None
    search: str = ""
    status: str = ""
    since: datetime | None = None
    tail: int = 100
    follow: bool = False


def moment(text: str, now: datetime) -> datetime:
    """`10m`, `2h`, `3d` ago, or a time such as 2026-11-20T08:00:00 (this computer's, or its own).

    Raises OperatorError when it is neither, or before 1970, which not all who are asked understand.
    """
    try:
        if found := re.fullmatch(r"([0-9]{1,6})([smhdw])", text):
            at = now - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        else:
            at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.year < 1970:
        raise OperatorError(
            f"--since {text}: is no time", remedy="such as 10m, 2h, 3d or 2026-11-20T08:00:00"
        )
    return at


def check(wanted: Wanted) -> None:
    """Raise OperatorError for a status that is none."""
    if wanted.status and not _STATUS.fullmatch(wanted.status):
        raise OperatorError(
            f"--status {wanted.status}: is no HTTP status", remedy="such as 404 or 5xx"
        )


def expression(wanted: Wanted) -> str:
    """The lines in LogsQL. Whatever was typed stands in quotes, and is searched as it is."""
    field = "server" if wanted.kind == "system" else "app"
    found = [f"{field}:={_quoted(wanted.of)}"]
    if wanted.service:
        found.append(f"service:={_quoted(wanted.service)}")
    if wanted.status.endswith("xx"):
        found.append(f"status:~{_quoted('^' + wanted.status[0])}")
    elif wanted.status:
        found.append(f"status:={_quoted(wanted.status)}")
    if wanted.search:
        search = wanted.search.encode(errors="replace").decode()
        found.append(f"_msg:~{_quoted('(?i)' + re.escape(search))}")
    return " ".join(found)


def _quoted(text: str) -> str:
    """A string as LogsQL reads it (Go's quotes, of which JSON's escapes are a part)."""
    return json.dumps(text, ensure_ascii=False)


def read(session: Session, wanted: Wanted) -> tuple[str, Iterator[Line]]:
    """The lines, the oldest first; and why they do not come from the store, empty if they do.

    Raises OperatorError for an unknown app or server, or a service that has no lines either.
    """
    check(wanted)
    _known(session, wanted)
    why = "this site has no log store (ronron deploy logs)"
    store = store_of(session.loaded.apps.values())
    if store is not None and store.recipe != RECIPE:
        why = f"{store.name} is read in its own pages"
    elif store is not None:
        try:
            place = container_of(session, store.name, wanted.kind)
            first = _first(*place, wanted)
        except RonronError as error:
            why = f"the log store does not answer: {error.message}"
        else:
            if wanted.service and not first:
                service_names(session, wanted.of, wanted.service)
            return "", _and_more(*place, wanted, first) if wanted.follow else iter(first)
    return why, _elsewhere(session, wanted)


def _known(session: Session, wanted: Wanted) -> None:
    if wanted.kind == "system":
        session.loaded.site.server(wanted.of)
    elif wanted.of not in PLATFORM:
        session.loaded.app(wanted.of)


def _first(runner: Runner, container: str, wanted: Wanted) -> list[Line]:
    """What the store has. Raises RonronError when it does not answer."""
    asked: dict[str, object] = {"query": expression(wanted), "limit": wanted.tail}
    if wanted.since:
        asked["start"] = wanted.since.timestamp()
    return _found(runner, container, wanted, asked)


def _found(
    runner: Runner, container: str, wanted: Wanted, asked: Mapping[str, object]
) -> list[Line]:
    done = runner.run(_ask(container, wanted.kind, asked), check=False, timeout=SECONDS)
    if done.status:
        raise RonronError(" ".join(done.stderr.decode(errors="replace").split()) or "no answer")
    raw = sorted(map(json.loads, done.text.splitlines()), key=lambda item: str(item["_time"]))
    return [_line(item) for item in raw]


def _and_more(runner: Runner, container: str, wanted: Wanted, first: list[Line]) -> Iterator[Line]:
    """The first lines, and all that come: the last seconds are asked for again and again.

    The store could tell them as they come, but one that comes late not at all; and when this
    computer is cut off, it would go on, and has room for few who ask.
    """
    yield from first
    told = set(map(json.dumps, first))
    second = slice(len("2026-11-28T12:00:00"))
    oldest = first[-1]["time"][second] if first else ""
    asked = {"query": f"{expression(wanted)} _time:{LATE}s", "limit": MOST_AT_ONCE}
    while True:
        time.sleep(EVERY)
        try:
            lines = _found(runner, container, wanted, asked)
        except RonronError as error:
            raise RonronError(
                f"the log store does not answer any more: {error.message}",
                remedy="follow again, with --since for what came meanwhile",
            ) from error
        found = {json.dumps(line): line for line in lines if line["time"][second] >= oldest}
        yield from (line for text, line in found.items() if text not in told)
        told = set(found)


def _ask(container: str, kind: str, values: Mapping[str, object]) -> list[str]:
    url = f"http://127.0.0.1:9428/{kind}/select/logsql/query?{urlencode(values)}"
    return ["docker", "exec", container, "wget", "-q", "-O", "-", url]


def _line(item: Mapping[str, Any]) -> Line:
    """A line as the store has it, by the names that it was sent with."""
    found = {"time": item["_time"], "message": item.get("_msg", "")}
    return found | {key: value for key, value in item.items() if not key.startswith("_")}


def _elsewhere(session: Session, wanted: Wanted) -> Iterator[Line]:
    """The lines from the swarm's own logs, or the server's journal: as far back as these go."""
    since = wanted.since or datetime.now(UTC) - LATELY
    if wanted.kind == "system":
        found = _journal(session.servers[wanted.of], wanted, since)
    elif wanted.kind == "access":
        start = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        argv = _FOLLOWED if wanted.follow else ("sh", "-c", _SINCE, "sh", requests.FOLDER, start)
        found = _requests(session, session.manager.stream(argv), wanted, start)
    else:
        found = (
            {"message": text}
            for text in log_lines(
                session, wanted.of, wanted.service, follow=wanted.follow, since=since
            )
        )
    low = wanted.search.lower()
    matching = (line for line in found if low in str(line["message"]).lower())
    return matching if wanted.follow else iter(deque(matching, wanted.tail))


def _journal(runner: Runner, wanted: Wanted, since: datetime) -> Iterator[Line]:
    argv = [
        "journalctl",
        "--quiet",
        "--no-pager",
        "--output=json",
        f"--since=@{since.timestamp():.0f}",
    ]
    for text in runner.stream([*argv, *(["--follow"] if wanted.follow else [])]):
        item = json.loads(text)
        if "CONTAINER_ID" in item or not isinstance(item.get("MESSAGE"), str):
            continue
        at = datetime.fromtimestamp(int(item["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        line: Line = {"time": at.isoformat(), "server": wanted.of, "message": item["MESSAGE"]}
        yield line | {"service": item.get("SYSLOG_IDENTIFIER", "")}


# Of the files access-*.log in $1, the oldest first, the lines since $2, to the second.
_SINCE = """
cd "$1" && exec awk -v since="$2" '
    match($0, /"StartUTC":"[^"]*/) && substr($0, RSTART + 12, 19) >= since' access-*.log
"""
_FOLLOWED = ("tail", "--quiet", "--lines=1000", "--follow=name", "--retry", requests.PATH)


def _requests(session: Session, lines: Iterable[str], wanted: Wanted, start: str) -> Iterator[Line]:
    """The requests to the app in the proxy's access log, from `start` on. Clients are left out
    where they are shortened: here they are as they were."""
    apps = session.loaded.apps
    # What the proxy itself answers is for any of them.
    of = [apps[wanted.of]] if wanted.of in apps else apps.values()
    whole = all(app.logs.addresses == "whole" for app in of)
    for text in lines:
        try:
            item = json.loads(text)
            status, router = str(item["DownstreamStatus"]), item.get("RouterName", "")
            if item["StartUTC"] < start:
                continue
        except (ValueError, KeyError, TypeError):
            continue
        service = str(item.get("ServiceName") or router)
        name = re.split("[@_]", service)[0] if service.endswith("@swarm") else PROXY
        if name != wanted.of or not status.startswith(wanted.status.removesuffix("xx")):
            continue
        host, path = item["RequestHost"], item["RequestPath"]
        yield {
            "time": item["StartUTC"],
            "message": f"{item['RequestMethod']} {host}{path} {status}",
            "app": name,
            "status": status,
            "path": path,
            **({"client": item["ClientHost"]} if whole else {}),
        }
