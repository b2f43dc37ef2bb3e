"""Which tests stay together when several processes share the work (`pytest -n 3`).

A module stays together, for the fixtures that it shares. The modules on the session's lab are in
three parts, each with a lab of its own: one would take as long as all the rest. Those on virtual
machines are one part: more machines than a computer has processors only slow each other down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

PARTS = {
    "cloud": ("catalog_services", "catalog_sites", "cloud", "cloud_apps", "cloud_servers",
              "secrets"),
    "data": ("access", "backup_faults", "backups", "carried", "drills", "mysql", "placement"),
    "watched": ("audited", "defended", "logs", "monitoring"),
}  # fmt: skip
"""The modules on the session's lab: those whose tests ask for the fixture `bare`."""

LONG = (
    "e2e/test_catalog_services.py",
    "e2e/test_catalog_sites.py",
    "e2e/test_mysql.py",
    "e2e/test_shared_storage.py",
    "vm/test_defended_machines.py",
)
"""What `make test-all` runs besides: sites and services built from hundreds of
packages, storage on three servers of its own, and a whole site on emulated machines."""

MACHINES = "tests/vm/"

PART_OF = {f"tests/e2e/test_{name}.py": part for part, modules in PARTS.items() for name in modules}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all`: the long ones too."""
    parser.addoption("--all", action="store_true", help="run the long tests too")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the long modules out, unless they are asked for or named."""
    here = Path(__file__).parent
    long = collection_path.relative_to(here).as_posix() in LONG
    asked = [(config.invocation_params.dir / one.partition("::")[0]) for one in config.args]
    named = any(collection_path.is_relative_to(one) for one in asked if one != here)
    return True if long and not named and not config.getoption("--all") else None


class _Parts(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return MACHINES if module.startswith(MACHINES) else PART_OF.get(module, module)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Parts:
    """Hand out whole parts and modules, in the order in which they were collected."""
    return _Parts(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a module on the session's lab that is in no part: it would get a lab of its own."""
    for item in items:
        module = item.nodeid.partition("::")[0]
        if "bare" in getattr(item, "fixturenames", ()) and module not in PART_OF:
            raise pytest.UsageError(f"{module}: add it to PARTS in tests/conftest.py")
