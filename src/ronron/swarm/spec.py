"""Service specifications of the swarm, in a form that can be compared field by field."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ronron.catalog.plain.passwords import is_secret_name, masked
from ronron.digest import short_digest
from ronron.site.secret import HIDDEN

Flat = dict[str, str]
# Where the name of a secret stands, not its value.
_NAMES = re.compile(r"(^|\.)secrets(\.|\[|$)")
_HASHES = re.compile(r"(basicauth|digestauth)\.users$", re.IGNORECASE)


def canonical(spec: Mapping[str, Any]) -> str:
    """A service's `Spec` of the Engine API as canonical JSON, without what a restart changes.

    That is the count of its restarts, and the order of mounts: `docker service update` sorts them.
    """
    task = {key: value for key, value in spec["TaskTemplate"].items() if key != "ForceUpdate"}
    container = task.get("ContainerSpec") or {}
    if container.get("Mounts"):
        mounts = sorted(container["Mounts"], key=lambda mount: str(mount.get("Target", "")))
        task["ContainerSpec"] = {**container, "Mounts": mounts}
    return json.dumps({**spec, "TaskTemplate": task}, sort_keys=True, separators=(",", ":"))


def digest(canonical_specs: Mapping[str, str]) -> str:
    """One digest for all services of an app, given by name in canonical form."""
    return short_digest(json.dumps(canonical_specs, sort_keys=True).encode())


def flatten_spec(spec: Mapping[str, Any]) -> Flat:
    """A service's `Spec` as fields named as an operator knows them: `environment.X`, `replicas`."""
    container = dict(spec.get("TaskTemplate", {}).get("ContainerSpec", {}))
    flat: Flat = {}
    for entry in container.pop("Env", None) or ():
        key, _, value = entry.partition("=")
        flat[f"environment.{key}"] = value
    flat |= {f"labels.{key}": str(value) for key, value in (spec.get("Labels") or {}).items()}
    if "Image" in container:
        flat["image"] = container.pop("Image")
    for key, value in (container.pop("Labels", None) or {}).items():
        flat[f"container_labels.{key}"] = value
    for kind in ("Secrets", "Configs"):
        for item in container.pop(kind, None) or ():
            flat[f"{kind.lower()}.{item[kind[:-1] + 'Name']}"] = item.get("File", {}).get(
                "Name", ""
            )
    flat |= dict(_walk(container, ""))
    mode = spec.get("Mode", {})
    if "Replicated" in mode:
        flat["replicas"] = str(mode["Replicated"].get("Replicas", 1))
    else:
        flat["mode"] = next(iter(mode), "").lower()
    task = {
        key: value
        for key, value in spec.get("TaskTemplate", {}).items()
        if key not in ("ContainerSpec", "ForceUpdate")
    }
    flat |= dict(_walk(task, ""))
    rest = ("UpdateConfig", "RollbackConfig", "EndpointSpec")
    flat |= dict(_walk({key: spec[key] for key in rest if key in spec}, ""))
    return flat


def flatten_stack(compose: Mapping[str, Any]) -> Flat:
    """A rendered Compose stack as fields: `services.web.image`, `services.web.environment.X`."""
    return dict(_walk(compose, ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        if path.endswith(("environment", "labels")):
            for item in value:
                key, _, text = str(item).partition("=")
                yield f"{path}.{key}", text
        elif all(isinstance(item, str) for item in value):
            yield path, shlex.join(value)
        else:
            for index, item in enumerate(value):
                yield from _walk(item, f"{path}[{index}]")
    elif value is not None:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def differences(before: Flat, after: Flat) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield `(field, before, after)` for each field that differs; None where it is absent.

    Values of fields whose names say that they are secret are hidden, and passwords inside others.
    """
    for field in sorted({*before, *after}):
        old, new = before.get(field), after.get(field)
        if old != new:
            yield field, _shown(field, old), _shown(field, new)


def _shown(field: str, value: str | None) -> str | None:
    if value is None:
        return None
    secret = is_secret_name(field.rpartition(".")[2]) and not _NAMES.search(field)
    return HIDDEN if secret or _HASHES.search(field) else masked(value)
