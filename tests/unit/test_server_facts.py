"""What a server tells of its part in the swarm, asked of this computer."""

from __future__ import annotations

import pytest

from ronron.errors import OperatorError
from ronron.servers.local import LocalRunner
from ronron.swarm import facts


def test_the_interface_that_the_site_names_is_looked_at() -> None:
    found = facts.read(LocalRunner(), "lo")
    assert found.interface == "lo"
    assert found.mtu > 1500, "that of the loopback interface, not the usual one"


def test_an_interface_that_is_not_there_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match=r"has no network interface eth77 \(.*: one of .*lo"):
        facts.read(LocalRunner(), "eth77")
