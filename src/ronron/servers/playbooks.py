"""The operator's own Ansible playbooks, run on the site's servers after provisioning."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ronron.errors import OperatorError, RonronError
from ronron.events import Event, Report, ignore, step
from ronron.servers import process
from ronron.servers.connections import key_file
from ronron.servers.names import lookup
from ronron.site.inventory import inventory

if TYPE_CHECKING:
    from ronron.site.load import LoadedSite

_RECAP = re.compile(
    r"^(?P<server>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+"
    r"unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)
"""A line of the summary that ansible-playbook ends with."""


@dataclass(frozen=True)
class PlaybookResult:
    """A playbook that was run: how many tasks changed something, by server."""

    playbook: str
    changed: Mapping[str, int]


def run_playbooks(loaded: LoadedSite, report: Report = ignore) -> tuple[PlaybookResult, ...]:
    """Run the playbooks of ronron.yml, in their order; each line that they print is reported.

    Raises OperatorError when Ansible is not installed, RonronError, with its last lines, when a
    playbook fails.
    """
    if not loaded.site.playbooks:
        return ()
    ansible = ansible_playbook()
    with tempfile.TemporaryDirectory(prefix="ronron-") as folder:
        source = _inventory(loaded, Path(folder))
        return tuple(
            _run(loaded, name, [ansible, "--inventory", str(source)], report)
            for name in loaded.site.playbooks
        )


def ansible_playbook() -> str:
    """The program `ansible-playbook`, beside this Python or on the PATH.

    Raises OperatorError when there is none.
    """
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("ansible-playbook", path=places)
    if found is None:
        raise OperatorError(
            "ronron.yml: playbooks: Ansible is not installed",
            remedy="pip install 'ronron[ansible]', or remove the playbooks",
        )
    return found


def recap(line: str) -> tuple[str, int] | None:
    """The server and its number of changes in a line of Ansible's summary, or None."""
    found = _RECAP.match(line)
    return (found["server"], int(found["changed"])) if found else None


def _inventory(loaded: LoadedSite, folder: Path) -> Path:
    """An inventory script that prints what `ronron inventory` does."""
    resolver = loaded.site.resolver
    data = inventory(
        loaded,
        key=key_file(loaded),
        address=lambda server: lookup(server.address, resolver) if resolver else server.address,
    )
    (folder / "inventory.json").write_text(json.dumps(data))
    script = folder / "inventory"
    script.write_text('#!/bin/sh\nexec cat "${0}.json"\n')
    script.chmod(0o700)
    return script


def _run(loaded: LoadedSite, name: str, ansible: list[str], report: Report) -> PlaybookResult:
    argv = [*ansible, str(loaded.path(name).absolute())]
    environment = {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_PIPELINING": "1",
        "LC_ALL": "C.UTF-8",
    }
    changed: dict[str, int] = {}
    title = f"playbook {name}"
    with step(report, title):
        lines = process.stream(name, argv, argv[:1], folder=loaded.folder, environment=environment)
        try:
            for line in lines:
                if counted := recap(line):
                    changed[counted[0]] = counted[1]
                elif line.strip():
                    report(Event(title, detail=line))
        except RonronError as error:
            raise RonronError(f"{title}: failed", details=error.details) from error
        for server, count in changed.items():
            report(Event(title, server, detail=f"{count} changed"))
    return PlaybookResult(name, changed)
