"""An apply with nothing to change, beside Ansible with the same provisioning and nothing to change.

Both are whole processes that open their own SSH connections and share one per server. Ansible has
what makes it fast: pipelining, a fork for each server, few facts, a fixed interpreter.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from laboratory import SERVERS, Laboratory
from measure import PYTHON, Result, alternate, ratio, say, timed

from ronron.plan.session import open_session
from ronron.servers.facts import facts
from ronron.servers.names import lookup
from ronron.servers.provision import contents, steps
from ronron.servers.provision.model import Install, MakeFolder, RunService, WriteFile
from ronron.servers.provision.run import declare
from ronron.site.inventory import inventory
from ronron.site.load import load_site
from ronron.swarm.certificates import registry_access

REPETITIONS = 5
APPS = ("one", "two", "three")
PLAYBOOK = Path(__file__).resolve().parent / "playbook" / "site.yml"
RECAP = re.compile(r"ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)")


def measure(laboratory: Laboratory) -> list[Result]:
    """The ratio, and the seconds behind it."""
    say(f"provisioning: deploying {len(APPS)} apps")
    for app in APPS:
        laboratory.deploy("hello", app)
    with tempfile.TemporaryDirectory(prefix="ronron-bench-") as temporary:
        folder = Path(temporary)
        write_inventory(laboratory, folder)
        say("provisioning: measuring")
        ours, ansibles = alternate(
            REPETITIONS, lambda: apply(laboratory), lambda: play(folder), warm_up=1
        )
    laboratory.remove(APPS)
    return [
        Result("apply, nothing to change / ansible-playbook", ratio(ours, ansibles), "ratio", 0.25),
        Result.median("apply, nothing to change", ours, "s"),
        Result.median("ansible-playbook, nothing to change", ansibles, "s"),
    ]


def apply(laboratory: Laboratory) -> float:
    """Apply the site, which must change nothing; returns the seconds that it took."""
    seconds, told = laboratory.output("apply", "--yes", "--json")
    changes = json.loads(told)
    if any(changes.values()):
        raise RuntimeError(f"ronron apply would change something: {told}")
    return seconds


def play(folder: Path) -> float:
    """Run the playbook, which must change nothing; returns the seconds that it took."""
    # A folder for sockets of this run's own: the connections of the last one are not used.
    with tempfile.TemporaryDirectory(prefix="ronron-") as sockets:
        environment = {
            "ANSIBLE_CONFIG": str(PLAYBOOK.with_name("ansible.cfg")),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        program = PYTHON.with_name("ansible-playbook")
        seconds, text = timed(
            [program, "--inventory", folder / "inventory", PLAYBOOK], environment=environment
        )
        end_connections(folder, Path(sockets))
    found = RECAP.findall(text)
    if len(found) != SERVERS or any(count != "0" for row in found for count in row):
        raise RuntimeError(f"ansible-playbook changed something, or failed:\n{text}")
    return seconds


def end_connections(folder: Path, sockets: Path) -> None:
    """End the SSH connections that Ansible leaves open for its next run."""
    for socket in sockets.iterdir():
        timed(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-q", folder.name])


def write_inventory(laboratory: Laboratory, folder: Path) -> None:
    """Write the site as an Ansible inventory, with what ronron provisions as its variables."""
    loaded = load_site(laboratory.site)
    with open_session(loaded, lambda _: None) as session:
        resolver = loaded.site.resolver
        addresses = {
            server.name: lookup(server.address, resolver) for server in loaded.site.servers.values()
        }
        declared = declare(loaded, addresses, registry_access(session.vault))
        first = declared[loaded.site.manager.name]
        seen = facts(session.manager, steps.query(first))
    hosts = inventory(
        loaded,
        key=loaded.folder / str(loaded.site.ssh.key),
        address=lambda server: addresses[server.name],
    )
    # What ronron would do to the same server when it was bare is all that it sees to.
    bare = replace(seen, host_name="", packages={}, services={}, entries={})
    actions = [step.action for step in steps.steps(first, bare)]
    files = {action.path: action for action in actions if isinstance(action, WriteFile)}
    block = files.pop(steps.HOSTS).content
    variables: dict[str, Any] = {
        "hosts_block": block.partition(contents.BEGIN)[2].partition(contents.END)[0].strip(),
        "folders": [
            {"path": action.path, "mode": f"{action.mode:04o}"}
            for action in actions
            if isinstance(action, MakeFolder)
        ],
        "files": [
            {"path": path, "content": action.content, "mode": f"{action.mode:04o}"}
            for path, action in files.items()
        ],
        "packages": [
            name for action in actions if isinstance(action, Install) for name in action.packages
        ],
        # A service that a condition of its unit keeps from starting is only enabled, as in ronron.
        "services": [
            {"name": action.service}
            | ({} if seen.services[action.service].unsuited else {"state": "started"})
            for action in actions
            if isinstance(action, RunService)
        ],
    }
    hosts["all"]["vars"] = variables
    (folder / "inventory.json").write_text(json.dumps(hosts))
    script = folder / "inventory"
    script.write_text('#!/bin/sh\nexec cat "${0}.json"\n')
    script.chmod(0o700)
