"""Hold the arrows between the rooms of `src/ronron`: who may import whom, and who may print.

Every import counts: inside of functions and for type checking too. Prints one line for each that
breaks the rules, and exits 1 if there is any.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

PACKAGE = "ronron"
# What each room may import of the other rooms; the modules beside the rooms are for all.
ALLOWED: dict[str, set[str]] = {
    "site": set(),
    "catalog": {"site"},
    "servers": {"site"},
    "engine": {"servers.runner", "servers.local"},
    "provider": {"servers", "site"},
    "lab": {"engine", "servers", "site"},
    "swarm": {"engine", "servers", "catalog", "site"},
    "backup": {"swarm", "engine", "servers", "catalog", "site"},
    "audit": {"plan", "backup", "swarm", "engine", "servers", "catalog", "site"},
    "plan": {"backup", "swarm", "engine", "servers", "catalog", "site"},
}
MAY_DO_ALL = {"cli", "web", "__main__.py"}
PRINTING = {"click", "rich"}
# Programs that are copied into images; they are no part of ronron's own code.
IMAGES = ("catalog/recipes", "lab/images")


def main() -> int:
    source = Path(__file__).parent.parent / "src" / PACKAGE
    faults = list(check(source))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def check(source: Path) -> Iterator[str]:
    """Yield one line for each fault in the package whose folder is `source`."""
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source)
        if not name.as_posix().startswith(IMAGES):
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            for line, fault in faults_of(name, tree):
                yield f"{path}:{line}: {fault}"


def faults_of(name: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each fault of one module; `name` is its path in the package."""
    room = name.parts[0] if len(name.parts) > 1 else ""
    if name.parts[0] in MAY_DO_ALL:
        return
    if room and room not in ALLOWED:
        yield 1, f"{room}/ is no room of the design: add it to scripts/check_imports.py"
        return
    for line, module in imports_of(name, tree):
        first, _, inside = module.partition(".")
        if first in PRINTING:
            yield (
                line,
                f"{room or name} imports {first}: only cli and web print",
            )
        if first == PACKAGE and not allowed(room, inside):
            yield line, f"{room or name} imports {module}: {rule(room)}"
    for node in ast.walk(tree):
        if prints(node):
            yield node.lineno, "print: report an Event instead, or return data"


def prints(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether this is a call of print that does not say to which file."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and all(keyword.arg != "file" for keyword in node.keywords)
    )


def allowed(room: str, module: str) -> bool:
    """Whether `room` may import `module` of the package (`site.load`; empty for the package)."""
    other = module.split(".")[0]
    if other == room or other not in ALLOWED.keys() | MAY_DO_ALL:
        return True
    return any(
        module == entry or module.startswith(entry + ".") for entry in ALLOWED.get(room, set())
    )


def rule(room: str) -> str:
    """What `room` may import, in words."""
    entries = sorted(ALLOWED.get(room, set()))
    return f"it may import {', '.join(entries)}" if entries else "it may import no room"


def imports_of(name: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module, or member of one, that a module imports."""
    package = [PACKAGE, *name.parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                yield node.lineno, ".".join([*base, *filter(None, [node.module]), alias.name])


if __name__ == "__main__":
    sys.exit(main())
