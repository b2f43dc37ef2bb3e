"""Provisioning as pure values: files rendered, and steps between declared and seen."""

import hashlib
import json
from dataclasses import replace
from typing import Literal

import pytest

from ronron.servers.facts import Disk, Entry, Facts, Service
from ronron.servers.provision import contents, remap
from ronron.servers.provision.model import (
    Change,
    Declared,
    FetchKey,
    Install,
    MakeFolder,
    RegistryAccess,
    Run,
    RunService,
    SetHostName,
    Step,
    WriteFile,
)
from ronron.servers.provision.steps import (
    MOST_LINES,
    ROUTES,
    diff,
    docker_packages,
    query,
    steps,
)
from ronron.site.userns import FIRST_ID, IDS

Packages = Literal["debian", "docker"]

HOSTS = (
    ("192.0.2.1", ("master.example.org", "master", "registry.ronron.internal")),
    ("192.0.2.2", ("worker-1.example.org", "worker-1")),
)
DECLARED = Declared("worker-1", manager=False, hosts=HOSTS, subnet="10.90.0.0/16")
ACCESS = RegistryAccess("registry.ronron.internal:5000", "CA", "CERTIFICATE", "PRIVATE KEY")
BARE = Facts(
    python="3.13.5",
    system="debian",
    version="13",
    codename="trixie",
    machine="x86_64",
    memory=1 << 31,
    cpus=2,
    disks={"/": Disk(1 << 35, 1 << 36)},
    clock=1000.0,
    host_name="debian",
    apparmor=False,
    packages={},
    services={},
    entries={
        "/etc/hosts": Entry(0o644, text="127.0.0.1 localhost\n127.0.1.1 debian\n"),
        "/etc/hostname": Entry(0o644, text="debian\n"),
    },
    listeners={},
)


def carried_out(found: list[Step], seen: Facts, *, now: float = 500.0) -> Facts:
    """The facts after these steps: what a server is meant to be like then."""
    entries, packages, services = dict(seen.entries), dict(seen.packages), dict(seen.services)
    for step in found:
        match step.action:
            case SetHostName(name):
                seen = replace(seen, host_name=name)
                entries["/etc/hostname"] = Entry(0o644, text=f"{name}\n")
            case MakeFolder(path, mode):
                entries[path] = Entry(mode)
            case WriteFile(path, content, mode):
                digest = hashlib.sha256(content.encode()).hexdigest()
                entries[path] = Entry(mode, sha256=digest, text=content, changed=now)
            case FetchKey(_, path, _):
                entries[path] = Entry(0o644)
            case Install(names):
                packages |= dict.fromkeys(names, "1.0")
            case RunService(name):
                services[name] = Service(enabled=True, active=True, since=now + 1)
    return replace(seen, entries=entries, packages=packages, services=services)


def items(found: list[Step]) -> list[tuple[str, str, str]]:
    return [(one.item, one.before, one.after) for step in found for one in step.changes]


def test_a_bare_server_gets_everything_files_before_packages_before_services() -> None:
    found = steps(DECLARED, BARE)
    kinds = [type(step.action) for step in found]
    order = [SetHostName, MakeFolder, WriteFile, Install, RunService]
    assert list(dict.fromkeys(kinds)) == order
    assert ("package docker.io", "absent", "installed") in items(found)
    assert ("host name", "debian", "worker-1") in items(found)
    assert all(change.server == "worker-1" for step in found for change in step.changes)


@pytest.mark.parametrize("docker", ["debian", "docker"])
@pytest.mark.parametrize("registry", [None, ACCESS])
def test_afterwards_nothing_is_left_to_do(
    docker: Packages, registry: RegistryAccess | None
) -> None:
    declared = replace(DECLARED, docker=docker, registry=registry)
    seen = replace(BARE, entries={**BARE.entries, "/etc/cloud/cloud.cfg.d": Entry(0o755)})
    found = steps(declared, seen)
    assert steps(declared, carried_out(found, seen)) == []


def test_everything_that_is_compared_is_asked_for() -> None:
    declared = replace(DECLARED, docker="docker", registry=ACCESS)
    seen = replace(BARE, entries={**BARE.entries, "/etc/cloud/cloud.cfg.d": Entry(0o755)})
    asked = query(declared)
    for step in steps(declared, replace(seen, apparmor=True)):
        match step.action:
            case MakeFolder(path):
                assert path in asked.folders
            case WriteFile(path) | FetchKey(_, path):
                assert path in asked.files + asked.secrets
            case Install(packages):
                assert set(packages) <= set(asked.packages)
            case RunService(service):
                assert service in asked.services
    assert "client.key" not in str(asked.files)
    assert asked.ports == ()
    assert query(replace(declared, manager=True)).ports == (80, 443)


def test_secrets_are_in_no_change_and_no_repr() -> None:
    found = steps(replace(DECLARED, registry=ACCESS), BARE)
    assert "PRIVATE KEY" not in repr(found)
    assert "PRIVATE KEY" not in repr(replace(DECLARED, registry=ACCESS))
    key = "/etc/docker/certs.d/registry.ronron.internal:5000/client.key"
    stale = replace(BARE, entries={**BARE.entries, key: Entry(0o600, sha256="other")})
    found = steps(replace(DECLARED, registry=ACCESS), stale)
    (change,) = (one for step in found for one in step.changes if one.item == key)
    assert (change.before, change.after, change.lines) == ("differs", "as declared", ())


def test_docker_restarts_when_its_settings_are_newer() -> None:
    done = carried_out(steps(DECLARED, BARE), BARE)
    assert steps(DECLARED, done) == []
    started_before = {**done.services, "docker": Service(True, True, since=400.0)}
    (step,) = steps(DECLARED, replace(done, services=started_before))
    assert step == Step(
        RunService("docker", restart=True),
        (
            Change(
                "worker-1",
                "service docker",
                "running",
                "restarted",
                "/etc/docker/daemon.json is newer",
            ),
        ),
    )
    ahead = replace(done, services=started_before, clock=450.0)
    assert steps(DECLARED, ahead) == []


def test_a_service_that_cannot_run_here_is_left_alone() -> None:
    done = carried_out(steps(DECLARED, BARE), BARE)
    unsuited = Service(enabled=True, active=False, unsuited=True)
    services = {**done.services, "systemd-timesyncd": unsuited}
    assert steps(DECLARED, replace(done, services=services)) == []
    services["docker"] = Service(enabled=True, active=False)
    (step,) = steps(DECLARED, replace(done, services=services))
    assert items([step]) == [("service docker", "stopped", "enabled and started")]


def test_another_time_daemon_is_kept() -> None:
    seen = replace(BARE, packages={"chrony": "4.6"}, services={"chrony": Service(False, True)})
    found = steps(DECLARED, seen)
    assert not any("timesyncd" in item for item, _, _ in items(found))
    assert ("service chrony", "disabled", "enabled and started") in items(found)


@pytest.mark.parametrize(
    ("docker", "system", "version", "expected"),
    [
        ("debian", "debian", "13", ("docker.io", "docker-cli")),
        ("debian", "debian", "12", ("docker.io",)),
        ("debian", "ubuntu", "24.04", ("docker.io",)),
        ("docker", "ubuntu", "24.04", ("docker-ce", "docker-ce-cli", "containerd.io")),
    ],
)
def test_dockers_packages(docker: Packages, system: str, version: str, expected: object) -> None:
    seen = replace(BARE, system=system, version=version)
    assert docker_packages(replace(DECLARED, docker=docker), seen) == expected


def test_dockers_own_packages_come_from_a_signed_source() -> None:
    found = steps(replace(DECLARED, docker="docker"), BARE)
    keys = [step.action for step in found if isinstance(step.action, FetchKey)]
    assert keys == [
        FetchKey(
            "https://download.docker.com/linux/debian/gpg",
            "/etc/apt/keyrings/docker.asc",
            "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
        )
    ]
    order = [step.action for step in found if isinstance(step.action, FetchKey | Install)]
    assert order[:2] == [Install(("ca-certificates",)), keys[0]]
    assert isinstance(order[2], Install)
    assert "docker-ce" in order[2].packages
    assert contents.docker_source("ubuntu", "noble", "arm64") == (
        "# Written by ronron apply.\n"
        "Types: deb\n"
        "URIs: https://download.docker.com/linux/ubuntu\n"
        "Suites: noble\n"
        "Components: stable\n"
        "Architectures: arm64\n"
        "Signed-By: /etc/apt/keyrings/docker.asc\n"
    )


def test_the_hosts_block_replaces_itself_and_keeps_the_rest() -> None:
    first = contents.hosts("127.0.0.1 localhost\n192.0.2.9 printer # mine\n", HOSTS)
    assert first == (
        "127.0.0.1 localhost\n"
        "192.0.2.9 printer # mine\n"
        "# ronron: begin (written by ronron apply)\n"
        "192.0.2.1 master.example.org master registry.ronron.internal\n"
        "192.0.2.2 worker-1.example.org worker-1\n"
        "# ronron: end\n"
    )
    assert contents.hosts(first, HOSTS) == first
    moved = contents.hosts(first + "192.0.2.8 below\n", (HOSTS[0], ("192.0.2.77", HOSTS[1][1])))
    assert "192.0.2.77 worker-1.example.org worker-1\n" in moved
    assert "192.0.2.8 below\n" in moved
    assert "192.0.2.2 " not in moved


def test_other_lines_with_a_servers_name_lose_it() -> None:
    current = "127.0.0.1 localhost\n127.0.1.1 worker-1.example.org worker-1\n::1 me worker-1\n"
    lines = contents.hosts(current, HOSTS).splitlines()
    assert lines[:2] == ["127.0.0.1 localhost", "::1 me"]
    assert not any(line.startswith("127.0.1.1") for line in lines)


def test_a_server_that_was_not_found_keeps_its_address() -> None:
    known = contents.hosts("", HOSTS)
    gone = (HOSTS[0], ("", HOSTS[1][1]))
    assert contents.hosts(known, gone) == known
    assert "worker-1" not in contents.hosts("", gone)


def test_dockers_bridges_stay_clear_of_the_site_and_its_servers() -> None:
    assert contents.pool("10.90.0.0/16", ["192.0.2.1"]) == "172.24.0.0/14"
    assert contents.pool("172.24.0.0/16", ["192.0.2.1", ""]) == "172.28.0.0/14"
    assert contents.pool("172.24.0.0/16", ["172.31.0.5"]) == "192.168.128.0/17"
    settings = json.loads(contents.daemon_json("10.90.0.0/16", ["2001:db8::1"]))
    assert settings["log-driver"] == "journald"
    assert "com.docker.swarm.service.name" in settings["log-opts"]["labels"]
    assert settings["no-new-privileges"] is True
    assert "live-restore" not in settings
    settings = json.loads(contents.daemon_json("10.90.0.0/16", [], no_new_privileges=False))
    assert settings["no-new-privileges"] is False


def test_a_diff_has_the_lines_that_differ_and_an_end() -> None:
    assert diff("a\nb\nc\n", "a\nB\nc\n") == ("-b", "+B")
    assert diff("", "---\n+++\n") == ("+---", "++++")
    long = diff("", "line\n" * 100)
    assert long[-1] == f"… and {100 - MOST_LINES} more lines"
    assert len(long) == MOST_LINES + 1


REMAPPED = replace(DECLARED, userns_remap=True, part=remap.part(userns_remap=True))
LAST = FIRST_ID + IDS - 1


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        (f"ada:{FIRST_ID - IDS}:{IDS}", False),
        (f"ada:{FIRST_ID - IDS}:{IDS + 1}", True),
        (f"ada:{LAST}:1", True),
        (f"ada:{LAST + 1}:{IDS}", False),
        (f"dockremap:{FIRST_ID}:{IDS}", False),
        ("# ada", False),
    ],
)
@pytest.mark.parametrize("path", remap.RANGES)
def test_a_server_that_has_given_these_users_away_is_refused(
    path: str, line: str, taken: bool
) -> None:
    seen = replace(BARE, entries={path: Entry(0o644, text=f"{line}\n")})
    found = [str(one) for one in remap.refused(seen)]
    assert bool(found) is taken
    assert all(one.startswith(f"{path} gives ada users") for one in found)


def test_a_new_server_gets_the_range_before_docker_and_is_then_done() -> None:
    found = steps(REMAPPED, BARE)
    told = [item for item, _, _ in items(found)]
    for path in (*remap.RANGES, remap.UNIT):
        assert told.index(path) < told.index("package docker.io")
    assert set(remap.RANGES) <= set(query(REMAPPED).files)
    assert steps(REMAPPED, carried_out(found, BARE)) == []
    without = [item for item, _, _ in items(steps(DECLARED, BARE))]
    assert not {*remap.RANGES, remap.UNIT} & set(without)


def test_a_server_that_has_docker_already_gets_the_socket_too() -> None:
    seen = carried_out(steps(DECLARED, BARE), BARE, now=400)
    listening = {"docker.socket": replace(seen.services["docker"], since=401.0)}
    seen = replace(seen, services={**seen.services, **listening})
    actions = [step.action for step in steps(REMAPPED, seen)]
    assert RunService("docker.socket", restart=True) in actions


def test_docker_is_told_only_where_it_is_asked_for() -> None:
    text = contents.daemon_json("10.90.0.0/16", [], userns_remap=True)
    assert json.loads(text)["userns-remap"] == "default"
    assert "userns" not in contents.daemon_json("10.90.0.0/16", [])


def test_a_server_goes_on_taking_its_routes_from_ipv6_routers() -> None:
    seen = replace(BARE, advertised={"ens3": 1, "ens4": 2})
    found = steps(DECLARED, seen)
    actions = [step.action for step in found]
    (place,) = (
        index
        for index, one in enumerate(actions)
        if isinstance(one, WriteFile) and one.path == ROUTES
    )
    written, loaded = actions[place], actions[place + 1]
    assert isinstance(written, WriteFile)
    assert written.content.splitlines()[1:] == [
        "net.ipv6.conf.ens3.accept_ra = 2",
        "net.ipv6.conf.ens4.accept_ra = 2",
    ]
    assert isinstance(loaded, Run)
    assert loaded.commands == ((contents.SYSCTL, ROUTES),)
    # Before Docker is there.
    assert place < min(i for i, one in enumerate(actions) if isinstance(one, Install))

    # It was written, and not loaded: the apply was interrupted.
    there = carried_out(found, seen)
    told = [change.item for step in steps(DECLARED, there) for change in step.changes]
    assert told == ["accept_ra of ens3"]
    assert steps(DECLARED, replace(there, advertised={"ens3": 2, "ens4": 2})) == []
    assert not any(
        isinstance(one, WriteFile) and one.path == ROUTES
        for one in (step.action for step in steps(DECLARED, BARE))
    )
