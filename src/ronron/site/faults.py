"""pydantic's errors in plain words, each with its path in the file and a remedy."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ronron.errors import Problem
from ronron.site.values import shown, suggestion


def problems(error: ValidationError, model: type[BaseModel], file: str) -> list[Problem]:
    """Every fault that `error` holds about `model`, which was read from `file`."""
    return [_problem(details, model, file) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, model: type[BaseModel], file: str) -> Problem:
    location = [part for part in details["loc"] if part != "[key]"]
    context: dict[str, Any] = details.get("ctx", {})
    given = details["input"]
    message, remedy = details["msg"], ""
    match details["type"]:
        case "fault":
            message, remedy = context["message"], context["remedy"]
            location += [context["at"]] if context["at"] else []
        case "extra_forbidden":
            known = _keys(_model_at(model, location[:-1]))
            message = "unknown key"
            remedy = suggestion(str(location[-1]), known) or f"known here: {', '.join(known)}"
        case "missing":
            field = _field(_model_at(model, location[:-1]), location[-1])
            message, remedy = "missing", f"add it: {field.description}"
        case "string_type":
            message = f"must be text, not {_kind(given)}"
            remedy = "put it in quotes" if isinstance(given, (int, float)) else ""
        case "int_type" | "int_from_float" | "int_parsing":
            message = f"must be a whole number, not {_kind(given)}"
            remedy = "remove the quotes" if isinstance(given, str) and given.isdigit() else ""
        case "bool_type" | "bool_parsing":
            message, remedy = f"must be true or false, not {_kind(given)}", ""
        case "greater_than_equal":
            message = f"must be {context['ge']} or more, not {given}"
        case "less_than_equal":
            message = f"must be {context['le']} or less, not {given}"
        case "literal_error":
            message = f"{shown(str(given))} is not known here"
            remedy = f"one of {_words(str(context['expected']))}"
        case "tuple_type" | "list_type":
            message = f"must be a list, not {_kind(given)}"
            remedy = f"write [{given}]" if isinstance(given, str) and len(given) < 60 else ""
        case "dict_type" | "model_type" | "model_attributes_type" | "mapping_type":
            message = f"must be a mapping, not {_kind(given)}"
            remedy = "write one `key: value` a line below it"
    return Problem(file, ".".join(str(part) for part in location), message, remedy)


def _kind(value: Any) -> str:  # noqa: ANN401
    """What a person calls the value that is there."""
    if value is None:
        return "empty"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    if isinstance(value, str):
        return shown(value)
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def _words(expected: str) -> str:
    """pydantic's `'a', 'b' or 'c'` without its quotes."""
    return expected.replace("'", "")


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys that a file may hold for `model`; its name comes from elsewhere."""
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return keys if model.__name__ == "Site" else [key for key in keys if key != "name"]


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The model that describes what is at `location` below `model`."""
    kind: Any = model
    for part in location:
        found = _model_in(kind)
        inside = typing.get_args(kind)  # of a mapping the value, of a list its items
        kind = (
            _field(found, part).annotation if found else inside[0 if inside[-1] is Ellipsis else 1]
        )
    return _model_in(kind) or model


def _field(model: type[BaseModel], key: int | str) -> FieldInfo:
    """The field that a file calls `key`."""
    by_key = {field.alias or name: field for name, field in model.model_fields.items()}
    return by_key[str(key)]


def _model_in(kind: Any) -> type[BaseModel] | None:  # noqa: ANN401
    """The model that `kind` is, or that it is where it is not None."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    models = (one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel))
    return next(models, None)
