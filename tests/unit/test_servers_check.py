"""Whether a server is fit, from its facts; and the facts' program, run on this computer."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from ronron.servers.check import GIB, Finding, judge, unfit, unreachable
from ronron.servers.facts import Disk, Facts, Query, facts, program
from ronron.servers.local import LocalRunner
from ronron.servers.recording import Answer, RecordingRunner
from ronron.servers.refusals import CannotConnect

GOOD = Facts(
    python="3.13.5",
    system="debian",
    version="13",
    codename="trixie",
    machine="x86_64",
    memory=2 * GIB,
    cpus=2,
    disks={"/": Disk(20 * GIB, 40 * GIB), "/var/lib/docker": Disk(20 * GIB, 40 * GIB)},
    clock=1000.0,
    host_name="debian",
    apparmor=False,
    packages={},
    services={},
    entries={},
    listeners={},
)


def said(seen: Facts, *, manager: bool = True) -> list[str]:
    return [str(finding) for finding in judge(seen, manager)]


def test_a_good_server_has_no_findings() -> None:
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("system", "version", "fit"),
    [
        ("debian", "12", True),
        ("debian", "11", False),
        ("debian", "", True),
        ("ubuntu", "22.04", True),
        ("ubuntu", "20.04", False),
        ("ubuntu", "26.04", True),
        ("fedora", "43", False),
        ("", "", False),
    ],
)
def test_systems(system: str, version: str, fit: bool) -> None:
    found = judge(replace(GOOD, system=system, version=version), manager=False)
    assert any(finding.fatal for finding in found) != fit


def test_a_full_disk_is_told_once() -> None:
    full = Disk(GIB, 40 * GIB)
    assert said(replace(GOOD, disks={"/": full, "/var/lib/docker": full})) == [
        "too little disk: 1.0 GiB free at / (free at least 2 GiB)"
    ]


def test_other_processors_are_refused() -> None:
    assert said(replace(GOOD, machine="armv7l")) == [
        "armv7l processors are not supported (use amd64 or arm64)"
    ]


def test_ports_matter_on_managers_and_unless_docker_has_them() -> None:
    seen = replace(GOOD, listeners={80: "nginx", 443: "docker-proxy"})
    assert said(seen) == [
        "port 80 is already used by nginx (stop it: the proxy needs ports 80 and 443)"
    ]
    assert said(seen, manager=False) == []


def test_a_server_that_needs_no_change_is_left_in_peace_but_for_the_ports() -> None:
    full = replace(GOOD, disks={"/": Disk(1, 2)}, listeners={443: "apache2"})
    assert len(unfit(full, True, changing=True)) == 2
    (port,) = unfit(full, True, changing=False)
    assert "port 443" in port.message
    assert unfit(full, False, changing=False) == ()
    assert unfit(replace(GOOD, memory=1), True, changing=True) == ()


def test_an_unreachable_server_is_not_fit() -> None:
    one = unreachable("worker-1", CannotConnect("worker-1", "no answer", remedy="turn it on"))
    assert not one.fit
    assert one.findings == (Finding("no answer", "turn it on"),)


def test_the_facts_of_this_computer(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    plain = tmp_path / "plain"
    plain.write_text("shown")
    seen = facts(
        LocalRunner(),
        Query(
            files=(str(plain), str(tmp_path / "absent")),
            secrets=(str(secret),),
            folders=(str(tmp_path),),
        ),
    )
    assert seen.memory > 0
    assert seen.disks["/"].total >= seen.disks["/"].free > 0
    assert seen.entries[str(plain)].text == "shown"
    assert seen.entries[str(secret)].text is None
    assert seen.entries[str(secret)].mode == 0o600
    assert len(seen.entries[str(secret)].sha256 or "") == 64
    assert set(seen.entries) == {str(plain), str(secret), str(tmp_path)}


def test_a_listening_port_is_found_with_its_program() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        seen = facts(LocalRunner(), Query(ports=(port, 1)))
    own = Path("/proc/self/comm").read_text().strip()
    assert dict(seen.listeners) == {port: own}


def test_no_python_and_no_root_are_told_apart() -> None:
    missing = RecordingRunner("one", {"python3": Answer(status=127)})
    with pytest.raises(CannotConnect, match="one: there is no Python 3"):
        facts(missing, Query())
    refused = RecordingRunner("two", {"python3": Answer(status=1), "true": Answer(status=1)})
    with pytest.raises(CannotConnect, match="two: its user cannot become root"):
        facts(refused, Query())


def test_the_program_stands_alone() -> None:
    assert "ronron." not in program()


def test_the_two_parts_of_the_program_do_not_share_a_name() -> None:
    tree = ast.parse(program())
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert sorted(defined) == sorted(set(defined))
