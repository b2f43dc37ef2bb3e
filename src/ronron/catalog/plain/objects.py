"""Secrets and configs: generated, read from files beside the stack, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ronron.catalog.plain.reading import Reading, listing, short_name

SECRET_NAME = 21
"""Longest name of a secret in the vault: with the app's and a digest it fits Docker's 64."""

CONFIG_NAME = 19
"""Longest name of a config, for the same reason."""


def secrets(reading: Reading, tree: dict[str, Any], services: Mapping[str, Any]) -> dict[str, str]:
    """Make each secret one of ronron's; return the contents of those that files hold."""
    contents: dict[str, str] = {}
    for name, raw in (tree.get("secrets") or {}).items():
        body = raw or {}
        steps = ("secrets", name)
        if "file" in body:
            path = reading.value(body["file"], (*steps, "file"))
            full = (reading.folder / path).resolve()
            if full.is_relative_to(reading.folder.resolve()) and full.is_file():
                contents[name] = full.read_text("utf-8").rstrip("\n")
                reading.note(steps, f"secret {name}: the content of {path} goes to the vault")
            else:
                reading.note(steps, f"secret {name}: {path} is not here, so it is in the vault, or "
                             "generated")  # fmt: skip
        elif "environment" in body and str(body["environment"]) in reading.variables:
            contents[name] = reading.variables[str(body["environment"])]
            reading.note(steps, f"secret {name}: the value goes to the vault")
        else:
            reading.note(steps, f"secret {name} is generated, and kept in the vault")
    _references(reading, tree, services, "secrets")
    names = _rename(reading, tree, services, "secrets", SECRET_NAME)
    if names:
        tree["secrets"] = {name: {"external": True} for name in names.values()}
    return {names[name]: content for name, content in contents.items()}


def configs(reading: Reading, tree: dict[str, Any], services: Mapping[str, Any]) -> None:
    """Keep the configs whose content is here; refuse those that are on another swarm."""
    found: dict[str, Any] = {}
    for name, raw in (tree.get("configs") or {}).items():
        body = {key: value for key, value in (raw or {}).items() if not key.startswith("x-")}
        steps = ("configs", name)
        template = {"template_driver": body["template_driver"]} if "template_driver" in body else {}
        if "content" in body:
            found[name] = {"content": body["content"], **template}
        elif "environment" in body:
            found[name] = {"content": f"${{{body['environment']}:?}}", **template}
        elif "file" in body:
            path = reading.value(body["file"], (*steps, "file"))
            reading.needs(path, (*steps, "file"))
            found[name] = {"file": path, **template}
        else:
            remedy = "put its content in a file beside this one: file: ./NAME"
            reading.refuse(steps, f"config {name} is on another swarm", remedy)
            found[name] = {"external": True}
    _references(reading, {"configs": found}, services, "configs")
    if found:
        tree["configs"] = found
        names = _rename(reading, tree, services, "configs", CONFIG_NAME)
        tree["configs"] = {names[name]: body for name, body in found.items()}


def _references(
    reading: Reading, tree: Mapping[str, Any], services: Mapping[str, Any], kind: str
) -> None:
    declared = tree.get(kind) or {}
    for service, body in services.items():
        for i, raw in enumerate(listing(body.get(kind))):
            source = raw.get("source") if isinstance(raw, dict) else raw
            if source not in declared:
                steps = ("services", service, kind, i)
                message = f"{kind[:-1]} {source} is not declared"
                reading.refuse(steps, message, f"add it under {kind}: at the end of the file")


def _rename(
    reading: Reading, tree: Mapping[str, Any], services: Mapping[str, Any], kind: str, length: int
) -> dict[str, str]:
    """Give short names to what is under `kind`, mounted where it was; return new names by old."""
    names: dict[str, str] = {}
    for name in tree.get(kind) or {}:
        names[name] = short_name(name, names.values(), length)
        if names[name] != name:
            reading.note((kind, name), f"{kind[:-1]} {name} is called {names[name]} here")
    for body in services.values():
        entries = []
        for raw in listing(body.get(kind)):
            entry = dict(raw) if isinstance(raw, dict) else {"source": raw}
            old = str(entry["source"])
            new = names.get(old, old)
            if new == old:
                entries.append(raw)
                continue
            target = old if kind == "secrets" else f"/{old}"
            entries.append({"target": target, **entry, "source": new})
        if entries:
            body[kind] = entries
    return names
