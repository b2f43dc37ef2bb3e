"""Which tests stay together when several processes share the work (`pytest -n 3 --dist loadgroup`).

A module stays together, for the fixtures that it shares. The tests on the session's lab are in two
parts, each with a lab of its own: one would take as long as all the rest.
"""

from __future__ import annotations

import pytest

LAB = "bare"
"""The fixture that makes the session's lab."""

DATA = ("backup", "carried", "drills", "placement", "access", "audited")
"""Words in the names of the modules that are the second part."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the group that it stays in."""
    for item in items:
        module = item.nodeid.partition("::")[0]
        group = module
        if LAB in getattr(item, "fixturenames", ()):
            group = f"{LAB} {'data' if any(word in module for word in DATA) else 'cloud'}"
        item.add_marker(pytest.mark.xdist_group(group))
