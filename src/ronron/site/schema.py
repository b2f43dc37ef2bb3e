"""The JSON Schemas of the site's files, made from the models: what editors complete with."""

from __future__ import annotations

import json
from typing import Any

from ronron.site.fields import Model
from ronron.site.models import App, Site

KINDS: dict[str, type[Model]] = {"ronron": Site, "app": App}
"""What a schema is called, and the model that it is of: of `ronron.yml`, of `apps/NAME.yml`."""


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `ronron.yml` ("ronron") or of an app's file ("app")."""
    found: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **KINDS[kind].model_json_schema(),
    }
    if kind == "ronron":
        server = found["$defs"]["Server"]
        _unnamed(server)
        del server["properties"]["address"]["default"]
        servers = found["properties"]["servers"]
        servers["additionalProperties"] = False
        for pattern, described in servers["patternProperties"].items():
            servers["patternProperties"][pattern] = {"anyOf": [described, {"type": "null"}]}
    else:
        _unnamed(found)
        found["oneOf"] = [{"required": ["recipe"]}, {"required": ["stack"]}]
    tidy: dict[str, Any] = _tidy(found)
    return tidy


def schema_text(kind: str) -> str:
    """The schema as a file holds it."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def _unnamed(described: dict[str, Any]) -> None:
    """Take the name out, the only key required: it comes from outside of what is described."""
    del described["properties"]["name"]
    del described["required"]


def _tidy(value: Any) -> Any:  # noqa: ANN401
    """Without the titles that pydantic makes up; a key without a value is its default."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _tidy(_nullable(item)) for name, item in sub.items()}
        if key == "properties"
        else sub
        if key == "default"
        else _tidy(sub)
        for key, sub in value.items()
        if key != "title" or not isinstance(sub, str)
    }


def _nullable(described: dict[str, Any]) -> dict[str, Any]:
    """The description of a key's value, which may be left empty when it has a default."""
    if "default" not in described or {"type": "null"} in described.get("anyOf", []):
        return described
    about = {key: value for key, value in described.items() if key in ("default", "description")}
    rest = {key: value for key, value in described.items() if key not in about}
    return about | {"anyOf": [rest, {"type": "null"}]}
