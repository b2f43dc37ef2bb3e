"""Recipes in the making: a skeleton, a stack file imported, an override compared."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ronron.catalog.recipe import Recipe
from ronron.catalog.stackfile import StackFile
from ronron.errors import OperatorError

_SKELETON = """\
x-ronron:
  title: {title}
  about: What it is, in one line
  category: other
  license: AGPL-3.0-or-later
  website: example.org
  verified: rendered
  web: {{service: web, port: 8080, health: /}}
  secrets:
    admin_password: {{about: The first account's password}}
  parameters:
    title: {{about: "The page's title", default: {title}}}
  volumes:
    data: {{class: files, uid: 1000, gid: 1000, mode: "0750"}}
  checks:
    files: {{about: What people stored, volume: data, file: "**/*"}}

services:
  web:
    image: example/{name}:1.0.0
    user: "1000:1000"
    read_only: true
    cap_drop: [ALL]
    environment:
      TITLE: ${{title:-{title}}}
      URL: https://${{domain}}
      ADMIN_PASSWORD_FILE: /run/secrets/admin_password
    secrets: [admin_password]
    volumes:
      - data:/data
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/"]
      interval: 10s
      timeout: 3s
      retries: 3
      start_period: 30s
    deploy:
      resources:
        limits: {{memory: 256M, cpus: "1.0"}}
        reservations: {{memory: 64M}}
      update_config: {{order: stop-first, failure_action: rollback}}

secrets:
  admin_password: {{external: true}}

volumes:
  data: {{}}
"""

_README = """\
# {title}

What it is, and for whom.

## First steps

    ronron deploy {name} NAME --domain NAME.example.org

What to do at the first visit: the first account, the settings that matter.

## Parameters

See `ronron recipe show {name}`.

## Upgrading

What to know before the image's tag is changed.

## Memory

What it was seen to use.
"""


def skeleton(name: str) -> dict[str, str]:
    """Return the files of a new recipe, by name; they pass the lint. Raises OperatorError."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        remedy = "use lower case letters, digits and dashes"
        raise OperatorError(f"{name} is no name of a recipe", remedy=remedy)
    title = name.replace("-", " ").capitalize()
    return {
        "stack.yml": _SKELETON.format(name=name, title=title),
        "README.md": _README.format(name=name, title=title),
    }


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a new recipe's files. Raises OperatorError when its folder is there already."""
    if folder.exists():
        raise OperatorError(f"{folder} is there already", remedy="remove it, or choose a name")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def imported(found: StackFile, folder: Path) -> dict[str, str | bytes]:
    """Return the files of the recipe that a stack file in `folder` becomes, by name."""
    recipe = found.recipe
    extension = recipe.extension.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content = {"x-ronron": extension, **json.loads(json.dumps(recipe.stack))}
    notes = "".join(f"# {note}\n" for note in recipe.notes)
    readme = _README.format(name=recipe.name, title=recipe.extension.title)
    return {
        "stack.yml": notes + _yaml(content),
        "README.md": readme,
        **{name: (folder / name).read_bytes() for name in _used(recipe)},
    }


def _used(recipe: Recipe) -> list[str]:
    """The files that the recipe itself names: those of its configs."""
    files = [str(body["file"]) for body in (recipe.stack.get("configs") or {}).values()
             if isinstance(body, Mapping) and "file" in body]  # fmt: skip
    return sorted({name.removeprefix("./") for name in files})


def _yaml(content: Mapping[str, Any]) -> str:
    blocks = [
        yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=100)
        for key, value in content.items()
    ]
    return "\n".join(blocks)


def difference(builtin: Path, own: Path) -> Iterator[str]:
    """Compare an operator's recipe with the built-in one: lines of a unified diff."""
    names = {
        path.relative_to(folder).as_posix()
        for folder in (builtin, own)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in sorted(names):
        before, after = _lines(builtin / name), _lines(own / name)
        if before is None or after is None:
            if (builtin / name).read_bytes() != (own / name).read_bytes():
                yield f"Binary files built-in/{name} and own/{name} differ"
            continue
        yield from difflib.unified_diff(
            before, after, f"built-in/{name}", f"own/{name}", lineterm=""
        )


def _lines(path: Path) -> list[str] | None:
    if not path.is_file():
        return []
    try:
        return path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        return None
