"""The check that holds the arrows between rooms finds what it should, and finds nothing here."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "check_imports", ROOT / "scripts" / "check_imports.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_imports"] = module
    spec.loader.exec_module(module)
    return module


check_imports = load()


def faults(path: str, source: str) -> list[str]:
    return [fault for _, fault in check_imports.faults_of(Path(path), ast.parse(source))]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("site/load.py", "from ronron.servers import ssh"),
        ("site/load.py", "import ronron.servers.ssh"),
        ("site/load.py", "from ronron import servers"),
        ("site/load.py", "def f():\n    from ronron.servers.ssh import SshRunner"),
        ("site/load.py", "if TYPE_CHECKING:\n    from ronron.servers.ssh import SshRunner"),
        ("site/deep/load.py", "from ...servers import ssh"),
        ("engine/build.py", "from ronron.servers.ssh import SshRunner"),
        ("plan/apply.py", "from ronron.cli import output"),
        ("swarm/nodes.py", "from ronron.plan.apply import apply"),
        ("events.py", "from ronron.site import models"),
        ("lab/use.py", "import click"),
        ("lab/use.py", "from rich.table import Table"),
        ("lab/use.py", "print('hello')"),
        ("attic/use.py", ""),
    ],
)
def test_what_breaks_the_rules_is_found(path: str, source: str) -> None:
    assert len(faults(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cli/lab.py", "import click\nfrom ronron.lab import up\nprint(up)"),
        ("engine/build.py", "from ronron.servers.runner import Runner"),
        ("engine/build.py", "from ronron.errors import RonronError"),
        ("servers/ssh.py", "from ronron.servers import process"),
        ("servers/ssh.py", "from . import process"),
        ("servers/ssh.py", "import ronron"),
        ("servers/ssh.py", "import richer, sys\nprint('hello', file=sys.stderr)"),
        ("plan/apply.py", "from ronron.swarm import nodes"),
    ],
)
def test_what_is_allowed_is_let_through(path: str, source: str) -> None:
    assert faults(path, source) == []


def test_the_code_keeps_the_rules() -> None:
    assert list(check_imports.check(ROOT / "src" / "ronron")) == []
