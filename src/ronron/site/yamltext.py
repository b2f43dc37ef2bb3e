"""Changing a YAML text where it must be changed: every other byte, comments too, stays.

A round trip through a parsed document does not do this: ruamel.yaml keeps a comment with what
stands above it, so that a server added at the end of `servers` comes after the comment that
introduces the next section, and one that is removed takes that comment with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ronron.errors import OperatorError, Problem
from ronron.site import reading

Path = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """The value at `path` becomes `value`; without a value (None) the key goes."""

    path: Path
    value: Any


def changes(old: Mapping[str, Any], new: Mapping[str, Any], at: Path = ()) -> Iterator[Change]:
    """What makes `old` into `new`, as small as it can be."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and before and value:
            yield from changes(before, value, (*at, key))
        elif key not in old or before != value or type(before) is not type(value):
            yield Change((*at, key), value)
    for key in old:
        if key not in new:
            yield Change((*at, key), None)


def apply(text: str, wanted: Sequence[Change], file: str) -> str:
    """The text with all of the changes in it, read again and compared.

    Raises OperatorError, naming `file`, for a text that cannot be changed this way.
    """
    by_hand = OperatorError(
        f"{file}: cannot be changed by ronron as it is written",
        remedy="write it in plain block style, or change it by hand",
    )
    data = reading.parse(text, file)
    if isinstance(data, Problem):
        raise OperatorError(str(data))
    for change in wanted:
        _set_in(data, change)
        try:
            text = _changed(text, change)
        except (yaml.YAMLError, LookupError, TypeError) as error:
            raise by_hand from error
    if _filled(reading.parse(text, file)) != _filled(data):
        raise by_hand
    return text


def block(data: Mapping[str, Any], indent: int = 0, levels: int = 2) -> str:
    """`data` as YAML, its first `levels` levels with one key a line."""
    lines = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value and levels > 1:
            lines.append(f"{' ' * indent}{inline(key)}:\n{block(value, indent + 2, levels - 1)}")
        else:
            lines.append(f"{' ' * indent}{inline(key)}: {inline(value)}\n")
    return "".join(lines)


def inline(value: Any) -> str:  # noqa: ANN401
    """`value` as YAML on one line."""
    dumped = yaml.dump(
        [value],
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=2**31,
    )
    return str(dumped).strip()[1:-1]


class _Dumper(yaml.SafeDumper):
    """Text that any reader of YAML could take for something else is quoted."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = '"'
    elif re.fullmatch(r"[-+.0-9eE]+", text) and reading.parse(f"x: {text}", "") != {"x": text}:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: _Dumper, items: Sequence[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, _list)


def _changed(text: str, change: Change) -> str:
    """The text with one change in it."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return text + block(_nested(change.path, change.value))
    *above, key = change.path
    parent: yaml.Node = root
    above_parent: list[yaml.MappingNode] = []
    for depth, part in enumerate(above):
        assert isinstance(parent, yaml.MappingNode)  # noqa: S101
        found = _entry(parent, part)
        if found is None or not _has_entries(found[1]):
            below = _nested((*change.path[depth + 1 :],), change.value)
            return _put(text, parent, part, below)
        above_parent.append(parent)
        parent = found[1]
    assert isinstance(parent, yaml.MappingNode)  # noqa: S101
    if change.value is not None:
        return _put(text, parent, key, change.value)
    if len(parent.value) == 1 and above:
        return _put(text, above_parent[-1], above[-1], {})
    return _without(text, parent, key)


def _put(text: str, parent: yaml.MappingNode, key: str, value: Any) -> str:  # noqa: ANN401
    """The text with `key` of the mapping `parent` set to `value`."""
    flow = bool(parent.flow_style)
    indent = parent.start_mark.column
    found = _entry(parent, key)
    if found:
        begin, end = found[0].end_mark.index, _end(text, found[1])
        if flow or not (isinstance(value, Mapping) and value):
            return f"{text[:begin]}: {inline(value)}{text[end:]}"
        comment = text[end : _line_end(text, end)].rstrip("\n")
        rest = text[_line_end(text, end) :]
        return f"{text[:begin]}:{comment}\n{block(value, indent + 2, 2)}{rest}"
    end = _end(text, parent.value[-1][1]) if parent.value else parent.start_mark.index + 1
    if flow:
        comma = "" if not parent.value else " , " if text[end - 1] == ":" else ", "
        return f"{text[:end]}{comma}{inline(key)}: {inline(value)}{text[end:]}"
    line_end = _line_end(text, end)
    newline = "" if text[:line_end].endswith("\n") else "\n"
    levels = 2 if indent else 3
    return text[:line_end] + newline + block({key: value}, indent, levels) + text[line_end:]


def _without(text: str, parent: yaml.MappingNode, key: str) -> str:
    """The text without `key` of the mapping `parent`."""
    index = next(i for i, (k, _) in enumerate(parent.value) if k.value == key)
    begin, end = parent.value[index][0].start_mark.index, _end(text, parent.value[index][1])
    if not parent.flow_style:
        return text[: text.rfind("\n", 0, begin) + 1] + text[_line_end(text, end) :]
    if index > 0:
        begin = _end(text, parent.value[index - 1][1])
    elif len(parent.value) > 1:
        end = parent.value[1][0].start_mark.index
    return text[:begin] + text[end:]


def _entry(parent: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((k, v) for k, v in parent.value if k.value == key), None)


def _has_entries(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and bool(node.value)


def _end(text: str, node: yaml.Node) -> int:
    """Where the content of `node` ends: before the comments and empty lines below it."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    return len(text[: node.end_mark.index].rstrip())


def _line_end(text: str, index: int) -> int:
    """Where the line that `index` is on ends, its newline included."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _nested(path: Path, value: Any) -> Any:  # noqa: ANN401
    for part in reversed(path):
        value = {part: value}
    return value


def _set_in(data: dict[str, Any], change: Change) -> None:
    """The change, made in what the text holds."""
    *above, key = change.path
    for part in above:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    if change.value is None:
        data.pop(key, None)
    else:
        data[key] = change.value


def _filled(value: Any) -> Any:  # noqa: ANN401
    """`value` as a reader of the file sees it: lists for tuples, nothing that is empty."""
    if isinstance(value, Mapping):
        return {k: _filled(v) for k, v in value.items() if v is not None and v != {}}
    return [_filled(v) for v in value] if isinstance(value, (list, tuple)) else value
