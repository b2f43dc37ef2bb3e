"""What closes a server, among the steps of provisioning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import pytest

from ronron.servers.defend.kernel import RULES
from ronron.servers.defend.part import THERE, part
from ronron.servers.facts import Entry, Service
from ronron.servers.provision.model import Run, RunService, StopService, WriteFile
from ronron.servers.provision.steps import query, steps
from ronron.site.security import Hardening
from ronron.site.userns import FIRST_ID, data_folder
from unit.test_servers_steps import BARE, DECLARED, carried_out, items

DOCKER = data_folder(0)
CLOSED = replace(DECLARED, part=part(Hardening(), ["192.0.2.1"], DOCKER))


@pytest.mark.parametrize("how", [Hardening(), Hardening(bans=False), Hardening(system=False)])
def test_afterwards_nothing_is_left_to_do(how: Hardening) -> None:
    declared = replace(DECLARED, part=part(how, [], DOCKER))
    found = steps(declared, BARE)
    assert steps(declared, carried_out(found, BARE)) == []


def test_everything_that_is_compared_is_asked_for() -> None:
    asked = query(CLOSED)
    assert {file.path for file in CLOSED.part.files} <= set(asked.files)
    assert {*CLOSED.part.services, *CLOSED.part.stopped} <= set(asked.services)
    made = {path for path, _ in CLOSED.part.folders}
    assert made <= set(asked.folders)
    folders = {str(PurePath(file.path).parent) for file in CLOSED.part.files}
    assert folders - made == set(THERE)


def test_a_service_reads_its_new_file() -> None:
    closed = carried_out(steps(CLOSED, BARE), BARE)
    jail = "/etc/fail2ban/jail.d/ronron.conf"
    other = Entry(0o644, sha256="other", text="old\n", changed=500.0)
    found = steps(CLOSED, replace(closed, entries={**closed.entries, jail: other}))
    assert [type(step.action) for step in found] == [WriteFile, RunService]
    assert ("service fail2ban", "running", "restarted") in items(found)


def test_an_interrupted_apply_is_finished_by_the_next() -> None:
    closed = carried_out(steps(CLOSED, BARE), BARE)
    early = replace(closed.services["fail2ban"], since=400.0)
    found = steps(CLOSED, replace(closed, services={**closed.services, "fail2ban": early}))
    assert [step.action for step in found] == [RunService("fail2ban", restart=True)]


def test_what_cannot_run_there_is_left_alone() -> None:
    """A lab's server is a container, which has no audit of its own."""
    closed = carried_out(steps(CLOSED, BARE), BARE)
    unsuited = Service(enabled=True, active=False, unsuited=True)
    services = {**closed.services, "auditd": unsuited, "server-firewall": unsuited}
    assert steps(CLOSED, replace(closed, services=services)) == []


def test_needless_services_are_stopped_and_so_are_bans_that_are_off() -> None:
    declared = replace(DECLARED, part=part(Hardening(bans=False), [], DOCKER))
    closed = carried_out(steps(declared, BARE), BARE)
    running = {name: Service(enabled=True, active=True) for name in ("cups", "fail2ban")}
    found = steps(declared, replace(closed, services={**closed.services, **running}))
    assert [step.action for step in found] == [StopService("fail2ban"), StopService("cups")]


def test_the_swarms_secrets_are_watched_wherever_docker_keeps_them() -> None:
    for first, folder in ((0, "/var/lib/docker"), (FIRST_ID, "/var/lib/docker/1000000.1000000")):
        (file,) = (
            one for one in part(Hardening(), [], data_folder(first)).files if one.path == RULES
        )
        watched = [line.split()[1] for line in file.content.splitlines() if line.startswith("-w")]
        assert [path for path in watched if "/swarm" in path] == [f"{folder}/swarm/"]


def test_audits_rules_are_loaded_once_docker_has_its_folder() -> None:
    actions = [step.action for step in steps(CLOSED, BARE)]
    (load,) = (one for one in actions if isinstance(one, Run) and "auditd" in one.title)
    assert actions.index(load) > actions.index(RunService("docker"))
