"""Which tests stay together when several processes share the work (`pytest -n 3 --dist loadgroup`).

A module stays together, for the fixtures that it shares. All tests on the session's lab stay
together: in two processes there would be two labs.
"""

from __future__ import annotations

import pytest

LAB = "bare"
"""The fixture that makes the session's lab."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the group that it stays in."""
    for item in items:
        shared = LAB in getattr(item, "fixturenames", ())
        group = LAB if shared else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
