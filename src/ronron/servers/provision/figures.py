"""Runs on a server every few minutes: writes figures that only root can read for Prometheus.

Stands alone: Python 3.9 and its standard library. It writes `server.prom` in the folder of metrics:
upgrades that wait, whether a reboot is needed, bans of the last ten minutes, log lines that wait,
and Docker's own figures; and `journal`, the server's last errors, for the messages of alerts.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

METRICS = Path("/var/lib/ronron/metrics")
BANS = Path("/var/lib/fail2ban/fail2ban.sqlite3")
SPOOL = Path("/var/spool/rsyslog/ronron")
LISTS = (Path("/var/lib/apt/lists"), Path("/var/lib/dpkg/status"))
REBOOT = (Path("/run/reboot-required"), Path("/var/run/reboot-required"))
DOCKER = "http://127.0.0.1:9323/metrics"
PERIOD = 600
LINES = 5
"""How many of the last hour's errors are kept."""

JOURNAL = (
    *("journalctl", "--quiet", "--no-pager", "--priority=err", "--since=-1h", "--reverse"),
    *("--lines=500", "--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,CONTAINER_ID"),
)
# A kernel's upgrade is a package of another name: without the option it is not told of.
SIMULATED = ("apt-get", "--simulate", "-o", "Debug::NoLocking=true", "--with-new-pkgs", "upgrade")


def upgrades(simulated: str) -> Iterator[str]:
    """What SIMULATED printed, counted: all packages, and security's."""
    lines = [line for line in simulated.splitlines() if line.startswith("Inst ")]
    security = [line for line in lines if re.search(r"\([^)]*security", line, re.I)]
    for kind, found in (("all", lines), ("security", security)):
        yield f'server_upgrades_pending{{kind="{kind}"}} {len(found)}'


def known(before: str, written: float) -> list[str]:
    """The upgrades as counted before, empty when packages or lists changed since."""
    if any(path.exists() and path.stat().st_mtime > written for path in LISTS):
        return []
    return [line for line in before.splitlines() if line.startswith("server_upgrades_pending")]


def bans(path: Path, now: float) -> Iterator[str]:
    """How many addresses fail2ban banned in the last ten minutes."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            query = "SELECT count(*) FROM bans WHERE timeofban > ?"
            found = database.execute(query, (now - PERIOD,)).fetchone()
    except sqlite3.Error:
        return
    yield f"server_bans_recent {found[0]}"


def spooled(folder: Path) -> Iterator[str]:
    """How many bytes of log lines wait for the site's store, on a server that sends them."""
    if folder.is_dir():
        yield f"server_logs_waiting_bytes {sum(map(_size, folder.iterdir()))}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # rsyslog sent what it held
        return 0


def mistakes(journal: str) -> list[str]:
    """The last errors that JOURNAL printed, the oldest first; containers' own are not the
    server's."""
    found: list[str] = []
    for line in journal.splitlines():
        item = json.loads(line)
        text = item.get("MESSAGE")
        if "CONTAINER_ID" in item or not isinstance(text, str):
            continue
        at = time.gmtime(int(item["__REALTIME_TIMESTAMP"]) // 1_000_000)
        name = item.get("SYSLOG_IDENTIFIER", "")
        shown = f"{time.strftime('%Y-%m-%d %H:%M:%S', at)} UTC {name}: {text}"
        found.append(re.sub(r"[\x00-\x1f\x7f]+", " ", shown))
        if len(found) == LINES:
            break
    return found[::-1]


def engine(text: str) -> Iterator[str]:
    """Docker's own figures of itself and its swarm, as it has them: no histogram's buckets."""
    for line in text.splitlines():
        name = re.match(r"(engine_daemon|swarm)_[a-z_]+", line)
        if name and not name[0].endswith("_bucket"):
            yield line


def _asked(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - it is ours
            return str(answer.read().decode(errors="replace"))
    except (OSError, ValueError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def main() -> None:
    """Write both files, each whole."""
    METRICS.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = METRICS / "server.prom"
    counted = known(_read(path), path.stat().st_mtime) if path.exists() else []
    if not counted:
        done = subprocess.run(SIMULATED, capture_output=True, text=True, check=False)
        counted = list(upgrades(done.stdout)) if done.returncode == 0 else []
    lines = [
        *counted,
        f"server_reboot_required {int(any(path.exists() for path in REBOOT))}",
        *bans(BANS, time.time()),
        *spooled(SPOOL),
        *engine(_asked(DOCKER)),
    ]
    _write(path, lines)
    told = subprocess.run(JOURNAL, capture_output=True, text=True, errors="replace", check=False)
    _write(METRICS / "journal", mistakes(told.stdout))


def _write(path: Path, lines: list[str]) -> None:
    new = path.with_suffix(".new")
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)


if __name__ == "__main__":
    main()
