"""Reading YAML as its 1.2 core schema has it: `no` is text, keys are text and are there once."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ronron.errors import Problem

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


class _Loader(_Base):
    """Duplicate keys and keys that are not text are refused; no merge keys, dates, octals."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ANN401
        """The mapping of `node`."""
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)
        result: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is not text; put it in quotes",
                    problem_mark=key_node.start_mark,
                )
            if key in result:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key} is there twice; remove one",
                    problem_mark=key_node.start_mark,
                )
            result[key] = self.construct_object(value_node, deep)
        return result


def _int(loader: Any, node: yaml.ScalarNode) -> int:  # noqa: ANN401
    return int(node.value)


# The core schema's numbers, but one with a leading zero (a postcode) or of endless length is text.
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})([eE][-+]?[0-9]{1,3})?",
        list("-+0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def parse(content: bytes | str, file: str) -> dict[str, Any] | Problem:
    """The mapping that a YAML text holds (empty for an empty text), or what is wrong with it.

    `file` is the name that the Problem carries.
    """
    loader = _Loader(content)
    try:
        data = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark else ""
        wrong = error.problem or error.context or "cannot be understood"
        if isinstance(error, yaml.constructor.ConstructorError) and "tag" in wrong:
            return Problem(file, line, "YAML tags are not used here", "remove the !")
        return Problem(file, line, *_reworded(wrong))
    except yaml.reader.ReaderError as error:
        return Problem(file, "", f"is not text: {error.reason}", "save it as UTF-8")
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        return Problem(file, "", f"is not YAML: {str(error).splitlines()[0]}")
    finally:
        loader.dispose()
    if data is None:
        return {}
    if not isinstance(data, dict):
        return Problem(file, "", "is not a mapping", "write one `key: value` a line")
    return data


def read(path: Path, file: str) -> dict[str, Any] | Problem:
    """The mapping in the YAML file at `path`, or what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Problem(file, "", f"cannot be read: {error.strerror}")
    return parse(content, file)


def _reworded(wrong: str) -> tuple[str, str]:
    """A parser's message with the remedy of its usual cause."""
    if ";" in wrong:
        message, remedy = wrong.rsplit("; ", 1)
        return message, remedy
    if "mapping values are not allowed" in wrong:
        return f"is not YAML: {wrong}", "put text with ': ' in quotes, and check the indentation"
    if "cannot start any token" in wrong and "\\t" in wrong:
        return f"is not YAML: {wrong}", "indent with spaces, not tabs"
    return f"is not YAML: {wrong}", "check the indentation, the quotes and the brackets"
