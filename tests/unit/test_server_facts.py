"""What a server tells of its part in the swarm, asked of this computer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ronron.errors import OperatorError, ServerError
from ronron.servers.local import LocalRunner
from ronron.swarm import facts


def test_the_interface_that_the_site_names_is_looked_at() -> None:
    found = facts.read(LocalRunner(), "lo")
    assert found.interface == "lo"
    assert found.mtu > 1500, "that of the loopback interface, not the usual one"


def test_an_interface_that_is_not_there_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match=r"has no network interface eth77 \(.*: one of .*lo"):
        facts.read(LocalRunner(), "eth77")


@pytest.mark.parametrize(
    "client",
    [
        "exit 1",
        # What version 26 does.
        """echo '{"NodeID":"","NodeAddr":"","LocalNodeState":"","ControlAvailable":false}'""",
    ],
)
def test_a_docker_that_is_stopped_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    answering = tmp_path / "docker"
    answering.write_text(f"#!/bin/sh\n{client}\n")
    answering.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert facts.read(LocalRunner()).swarm_state == "absent"


def test_a_docker_that_does_not_answer_is_not_taken_for_one_without_a_swarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "docker"
    hanging.write_text("#!/bin/sh\nexec sleep 30\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(facts, "PATIENCE", 1)
    with pytest.raises(ServerError, match="Docker does not answer within 1 s"):
        facts.read(LocalRunner())
