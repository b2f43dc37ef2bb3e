"""Runs a job on the manager, and leaves in a file when it began, when it ended, and how.

Called by systemd as `python -m ronron.servers.carry.job NAME COMMAND…`; ends with the command's
exit status.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ronron.servers.carry.manager import STATE
from ronron.site.files import write_atomically


def run(name: str, command: Sequence[str], folder: Path = Path(STATE) / "jobs") -> int:
    """Run `command`, and write `NAME.json` in `folder` before and after; its exit status."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told: dict[str, object] = {"begun": _now(), "ended": None, "status": None}

    def write() -> None:
        write_atomically(folder / f"{name}.json", json.dumps(told).encode(), mode=0o600)

    write()
    told["status"] = subprocess.run(list(command), check=False).returncode
    told["ended"] = _now()
    write()
    return int(str(told["status"]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
