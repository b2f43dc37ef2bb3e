"""A server's own figures for Prometheus that the node exporter does not have.

Of every container: CPU time, memory and its limit, processes killed for want of memory, read from
the control groups (versions 1 and 2), with the container's id alone; which app it is of is known to
the managers. The server's network, errors that file systems remember, and the files `*.prom` that
programs of this server left in the folder of metrics; for messages, the last errors of its journal.

It reads; it needs no capability, and no Docker socket.
"""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8001
GROUPS = Path("/host/sys/fs/cgroup")
PROCESSES = Path("/host/proc")
FILE_SYSTEMS = Path("/host/sys/fs")
METRICS = Path("/metrics")
UNLIMITED = 1 << 60

_CONTAINER = re.compile(r"^(?:docker-)?([0-9a-f]{64})(?:\.scope)?$")
_LINE = re.compile(r"^(#.*|[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eEinfNa]+)$")
_DEEP = 6


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _field(path: Path, name: str) -> int | None:
    found = re.search(rf"^{name} (\d+)$", _text(path), re.M)
    return int(found[1]) if found else None


def containers(root: Path) -> dict[str, Path]:
    """The control group of each container, the outermost where containers are in containers."""
    found: dict[str, Path] = {}
    level = [root]
    for _ in range(_DEEP):
        below = []
        for folder in level:
            try:
                folders = [path for path in folder.iterdir() if path.is_dir()]
            except OSError:
                continue  # it ended meanwhile
            for path in folders:
                if match := _CONTAINER.match(path.name):
                    found.setdefault(match[1], path)
                below.append(path)
        level = below
    return found


def _sample(name: str, container: str, value: float | None) -> Iterator[str]:
    if value is not None:
        yield f'{name}{{id="{container}"}} {value:.6f}'.rstrip("0").rstrip(".")


def unified(groups: Path) -> Iterator[str]:
    """Containers' figures from control groups of version 2."""
    for name, folder in containers(groups).items():
        cpu = _field(folder / "cpu.stat", "usage_usec")
        yield from _sample(
            "container_cpu_usage_seconds_total", name, None if cpu is None else cpu / 1e6
        )
        used = _number(folder / "memory.current")
        cache = _field(folder / "memory.stat", "inactive_file") or 0
        working = None if used is None else max(used - cache, 0)
        yield from _sample("container_memory_working_set_bytes", name, working)
        yield from _sample(
            "container_spec_memory_limit_bytes", name, _number(folder / "memory.max")
        )
        killed = _field(folder / "memory.events", "oom_kill")
        yield from _sample("container_oom_events_total", name, killed)


def legacy(groups: Path) -> Iterator[str]:
    """Containers' figures from control groups of version 1."""
    for name, folder in containers(groups / "cpuacct").items():
        cpu = _number(folder / "cpuacct.usage")
        yield from _sample(
            "container_cpu_usage_seconds_total", name, None if cpu is None else cpu / 1e9
        )
    for name, folder in containers(groups / "memory").items():
        used = _number(folder / "memory.usage_in_bytes")
        cache = _field(folder / "memory.stat", "total_inactive_file") or 0
        working = None if used is None else max(used - cache, 0)
        yield from _sample("container_memory_working_set_bytes", name, working)
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < UNLIMITED:
            yield from _sample("container_spec_memory_limit_bytes", name, limit)
        killed = _field(folder / "memory.oom_control", "oom_kill")
        yield from _sample("container_oom_events_total", name, killed)


def network(processes: Path) -> Iterator[str]:
    """What the server's own interfaces received and sent; those of containers are left out."""
    for line in _text(processes / "1/net/dev").splitlines()[2:]:
        device, _, numbers = line.partition(":")
        device, fields = device.strip(), numbers.split()
        if device != "lo" and not re.match(r"veth|docker|br-", device):
            yield f'server_network_receive_bytes_total{{device="{device}"}} {fields[0]}'
            yield f'server_network_transmit_bytes_total{{device="{device}"}} {fields[8]}'


def errors(file_systems: Path) -> Iterator[str]:
    """Errors that ext4 file systems remember."""
    for path in sorted(file_systems.glob("ext4/*/errors_count")):
        if (count := _number(path)) is not None:
            yield f'server_filesystem_errors{{device="{path.parent.name}"}} {count}'


def left(folder: Path) -> Iterator[str]:
    """The files that other programs of the server write."""
    for path in sorted(folder.glob("*.prom")):
        # One line that is none would spoil all figures of this server.
        yield from (line for line in _text(path).splitlines() if _LINE.match(line))
        try:
            changed = path.stat().st_mtime
        except OSError:
            continue
        yield f'server_metrics_file_changed_seconds{{file="{path.stem}"}} {changed:.0f}'


def figures() -> str:
    """All figures in Prometheus' text format."""
    version = unified if (GROUPS / "cgroup.controllers").exists() else legacy
    lines = [*version(GROUPS), *network(PROCESSES), *errors(FILE_SYSTEMS), *left(METRICS)]
    return "\n".join(lines) + "\n"


def journal() -> str:
    """The server's last errors, as a program of its own left them."""
    return _text(METRICS / "journal")


ANSWERS: dict[str, Callable[[], str]] = {
    "/metrics": figures,
    "/journal": journal,
    "/health": lambda: "ok\n",
}


class Handler(BaseHTTPRequestHandler):
    """Requests of Prometheus."""

    def do_GET(self) -> None:
        """Answer `/metrics`, `/health`, and `/journal`: the server's last errors."""
        answer = ANSWERS.get(self.path)
        content = (answer() if answer else "not found\n").encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged: there is one every few seconds."""


def main() -> int:
    """Serve; `check` asks whether it does."""
    if sys.argv[1:] == ["check"]:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=3):
            return 0
    with ThreadingHTTPServer(("", PORT), Handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
