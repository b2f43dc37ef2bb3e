"""A YAML file read as Docker's own reader reads it, with the line of each of its parts.

Scalars follow YAML 1.2 as go-yaml has it: `yes` and `22:22` are strings, `0440` is octal; dates
stay text. Merge keys and anchors are resolved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from ronron.catalog.interpolate import Step
from ronron.errors import Problem, SiteError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|[0-9][0-9_]*)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NODES = 100_000
"""More nodes than any honest file has, fewer than a bomb of anchors makes."""


@dataclass(frozen=True)
class Document:
    """The content of a file, and the line (from 1) at which each path of it stands."""

    tree: dict[str, Any]
    lines: dict[tuple[Step, ...], int] = field(repr=False)

    def line(self, steps: Sequence[Step]) -> int:
        """Return the line of `steps`, or of the nearest thing around it."""
        path = tuple(steps)
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Fault(Exception):
    def __init__(self, node: yaml.Node, message: str, remedy: str) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1
        self.remedy = remedy


def read(text: str, file: str) -> Document:
    """Read one YAML document that is a mapping. Raises SiteError with the line of the fault."""
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "this is not YAML"
        raise SiteError([Problem(file, where, reason, "check indentation and quotes")]) from None
    nodes = [node for node in nodes if node is not None]
    if len(nodes) > 1:
        where = f"line {nodes[1].start_mark.line + 1}"
        message = "a second YAML document starts here"
        raise SiteError([Problem(file, where, message, "one stack, one document")])
    if not nodes or not isinstance(nodes[0], yaml.MappingNode):
        raise SiteError([Problem(file, "", "this is not a stack file", "it needs services:")])
    reader = _Reader()
    try:
        tree = reader.convert(nodes[0], ())
    except _Fault as fault:
        raise SiteError([Problem(file, f"line {fault.line}", str(fault), fault.remedy)]) from None
    return Document(tree, reader.lines)


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[tuple[Step, ...], int] = {}
        self._open: set[int] = set()
        self._count = 0

    def convert(self, node: yaml.Node, steps: tuple[Step, ...]) -> Any:  # noqa: ANN401
        self._count += 1
        if self._count > _NODES:
            raise _Fault(node, f"more than {_NODES} nodes", "write it without so many anchors")
        self.lines.setdefault(steps, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return scalar(node)
        if id(node) in self._open:
            raise _Fault(node, "this anchor contains itself", "remove the alias inside it")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.convert(item, (*steps, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, steps)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, steps: tuple[Step, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Fault(key_node, "a key must be a plain value", "quote it")
            if key_node.value == "<<" and not key_node.style:
                for key, value in self._merge(value_node, steps).items():
                    merged.setdefault(key, value)
                continue
            key = key_node.value
            if key in result:
                raise _Fault(key_node, f"the key {key} is here twice", "remove one of them")
            self.lines[(*steps, key)] = key_node.start_mark.line + 1
            result[key] = self.convert(value_node, (*steps, key))
        return {**merged, **result} if merged else result

    def _merge(self, node: yaml.Node, steps: tuple[Step, ...]) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise _Fault(source, "<< merges mappings only", "name an anchor of a mapping")
            for key, value in self.convert(source, steps).items():
                merged.setdefault(key, value)
        return merged


def scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """Return the value of a scalar node as go-yaml would."""
    text: str = node.value
    tag: str = node.tag or ""
    if tag in ("!!binary", "tag:yaml.org,2002:binary") or not tag.startswith("tag:yaml.org,2002:"):
        raise _Fault(node, f"the tag {tag} is not known", "remove it")
    if node.style or tag == "tag:yaml.org,2002:str":
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INTEGER.match(text):
        digits = text.lstrip("+-").replace("_", "")
        base = 8 if re.fullmatch(r"0[0-7]+", digits) else 10
        base = {"0o": 8, "0x": 16}.get(digits[:2], base)
        try:
            return int(digits, base) * (-1 if text.startswith("-") else 1)
        except ValueError:
            return text
    if _FLOAT.match(text):
        return float(text)
    return text
