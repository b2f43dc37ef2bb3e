"""Which tests stay together when several processes share the work (`pytest -n 3`).

A module stays together, for the fixtures that it shares. The modules on the session's lab are in
three parts, each with a lab of its own: one would take as long as all the rest. Those on virtual
machines are one part: more machines than a computer has processors only slow each other down.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

PARTS = {
    "cloud": ("catalog_services", "catalog_sites", "cloud", "cloud_apps", "cloud_servers",
              "secrets"),
    "data": ("access", "backup_faults", "backups", "carried", "drills", "mysql", "placement"),
    "watched": ("audited", "banned", "defended", "logs", "monitoring"),
}  # fmt: skip
"""The modules on the session's lab: those whose tests ask for the fixture `bare`."""

MACHINES = "tests/vm/"

PART_OF = {f"tests/e2e/test_{name}.py": part for part, modules in PARTS.items() for name in modules}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: the long ones too."""
    parser.addoption("--all", action="store_true", help="run the long tests too")


class _Parts(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return MACHINES if module.startswith(MACHINES) else PART_OF.get(module, module)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Parts:
    """Hand out whole parts and modules, in the order in which they were collected."""
    return _Parts(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for or their module or folder is named.

    A module on the session's lab that is in no part is refused: it would get a lab of its own.
    """
    whole = config.args == config.getini("testpaths")
    if whole and not config.getoption("--all"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for item in items:
        module = item.nodeid.partition("::")[0]
        if "bare" in getattr(item, "fixturenames", ()) and module not in PART_OF:
            raise pytest.UsageError(f"{module}: add it to PARTS in tests/conftest.py")
