"""Compose interpolation: `${VARIABLES}` in a stack, read once and filled in for each app.

The forms and the types that values are cast to are those of the Compose specification's chapter
on interpolation and of the Docker CLI (`cli/compose/loader/interpolate.go`).
"""

from __future__ import annotations

import datetime
import marshal
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ronron.errors import Problem, SiteError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_LITERAL = "write $$ for a dollar sign that is meant"

Step = str | int


@dataclass(frozen=True)
class Variable:
    """`${name}`, or `${name` `operator` `argument` `}`; the argument may hold variables itself."""

    name: str
    operator: str = ""
    argument: tuple[str | Variable, ...] = ()


@dataclass(frozen=True)
class Need:
    """What a tree wants of one variable, and where (`services.web.image`).

    `default` is the value it has when not set, None if that is nothing at all.
    """

    default: str | None
    required: bool
    places: tuple[str, ...]


class _Missing(Exception):
    """A required variable is not set."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name = name
        self.message = message


@dataclass(frozen=True)
class _Slot:
    """One string of the tree that holds variables: where it is, and what its value becomes."""

    steps: tuple[Step, ...]
    parts: tuple[str | Variable, ...]
    cast: Callable[[str], object] | None

    @property
    def place(self) -> str:
        return place(self.steps)


class Template:
    """A tree of dicts, lists and scalars with its variables found; made by `compile`."""

    def __init__(self, tree: Any, slots: Sequence[_Slot], file: str) -> None:  # noqa: ANN401
        # Unmarshalling makes a fresh tree several times faster than copying one does.
        self._tree = marshal.dumps(tree)
        self._slots = tuple(slots)
        self._file = file

    def render(self, variables: Mapping[str, str]) -> Any:  # noqa: ANN401 - any tree
        """Return a fresh tree with every variable replaced; variables not set become empty.

        Raises SiteError with every required variable that is missing and every value that does
        not fit its place.
        """
        tree = marshal.loads(self._tree)  # noqa: S302 - our own bytes
        problems = []
        for slot in self._slots:
            try:
                value: object = _fill(slot.parts, variables)
                if slot.cast is not None:
                    value = slot.cast(str(value))
            except _Missing as missing:
                text = f"variable {missing.name} is missing"
                text += f": {missing.message}" if missing.message else ""
                problems.append(Problem(self._file, slot.place, text, _remedy(missing.name)))
                continue
            except ValueError as error:
                who = ", ".join(sorted({name for name, _, _ in _variables(slot.parts)}))
                text = f"{error} (from variable {who})"
                problems.append(Problem(self._file, slot.place, text, f"correct {who}"))
                continue
            if not slot.steps:
                tree = value
                continue
            node = tree
            for step in slot.steps[:-1]:
                node = node[step]
            node[slot.steps[-1]] = value
        if problems:
            raise SiteError(problems)
        return tree

    def variables(self) -> dict[str, Need]:
        """Every variable of the tree, in the order in which they come."""
        needs: dict[str, Need] = {}
        for slot in self._slots:
            for name, default, required in _variables(slot.parts):
                need = needs.get(name, Need(default, required, ()))
                places = dict.fromkeys((*need.places, slot.place))
                needs[name] = replace(
                    need,
                    default=need.default if need.default is not None else default,
                    required=need.required or required,
                    places=tuple(places),
                )
        return needs


def compile(tree: object, file: str = "stack.yml") -> Template:
    """Find the variables of `tree`; `file` is what errors name.

    Raises SiteError with every string that is not valid interpolation.
    """
    slots: list[_Slot] = []
    problems: list[Problem] = []
    plain = _plain(tree, (), slots, problems, file)
    if problems:
        raise SiteError(problems)
    return Template(plain, slots, file)


def escape(tree: Any) -> Any:  # noqa: ANN401 - any tree
    """Return `tree` with each `$` of its values doubled, for who interpolates it again.

    Keys are left alone: nobody interpolates them.
    """
    if isinstance(tree, str):
        return tree.replace("$", "$$")
    if isinstance(tree, dict):
        return {key: escape(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [escape(value) for value in tree]
    return tree


def leaves(tree: object, steps: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], object]]:
    """Every scalar of a tree and the path to it."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*steps, key))
    elif isinstance(tree, (list, tuple)):
        for number, value in enumerate(tree):
            yield from leaves(value, (*steps, number))
    else:
        yield steps, tree


def parse(text: str) -> tuple[str | Variable, ...]:
    """Split a string into literal text and variables. Raises ValueError when it is not valid."""
    parts: list[str | Variable] = []
    at, literal = 0, ""
    while (dollar := text.find("$", at)) >= 0:
        literal += text[at:dollar]
        after = text[dollar + 1 : dollar + 2]
        if after == "$":
            literal, at = literal + "$", dollar + 2
            continue
        if after == "{":
            end = _closing(text, dollar + 2)
            variable = _braced(text[dollar + 2 : end])
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            variable, at = Variable(name.group()), name.end()
        else:
            raise ValueError(f"a lone $ at “{text[dollar : dollar + 12]}”")
        if literal:
            parts.append(literal)
        parts.append(variable)
        literal = ""
    literal += text[at:]
    return (*parts, literal) if literal else tuple(parts)


def place(steps: Sequence[Step]) -> str:
    """Write a path in a tree: `services.web.ports[0]`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _closing(text: str, start: int) -> int:
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        depth -= text[at] == "}"
        if depth == 0:
            return at
        at += 1
    raise ValueError(f"“${{{text[start : start + 12]}” has no closing brace")


def _braced(inside: str) -> Variable:
    name = _NAME.match(inside)
    if name is None:
        raise ValueError(f"“${{{inside}}}” has no variable's name")
    rest = inside[name.end() :]
    if not rest:
        return Variable(name.group())
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise ValueError(f"“${{{inside}}}” is none of the forms :- - :? ? :+ +")
    return Variable(name.group(), operator.group(), parse(rest[operator.end() :]))


def _fill(parts: tuple[str | Variable, ...], variables: Mapping[str, str]) -> str:
    return "".join(
        [part if isinstance(part, str) else _value(part, variables) for part in parts],
    )


def _value(variable: Variable, variables: Mapping[str, str]) -> str:
    value = variables.get(variable.name)
    operator = variable.operator
    if not operator:
        return value or ""
    absent = value is None or (value == "" and operator[0] == ":")
    if operator[-1] == "+":
        return "" if absent else _fill(variable.argument, variables)
    if value is not None and not absent:
        return value
    if operator[-1] == "?":
        raise _Missing(variable.name, _fill(variable.argument, variables))
    return _fill(variable.argument, variables)


def _variables(
    parts: tuple[str | Variable, ...], certain: bool = True
) -> Iterator[tuple[str, str | None, bool]]:
    """Each variable's name, default, and whether it is required whatever the others are."""
    for part in parts:
        if isinstance(part, str):
            continue
        default = None
        if part.operator.endswith("-"):
            try:
                default = _fill(part.argument, {})
            except _Missing:
                default = None
        yield part.name, default, certain and part.operator.endswith("?")
        yield from _variables(part.argument, certain=False)


def _plain(
    node: object, steps: tuple[Step, ...], slots: list[_Slot], problems: list[Problem], file: str
) -> object:
    """Copy a tree into plain dicts, lists and scalars, and note its strings with variables."""
    if isinstance(node, Mapping):
        return {
            key: _plain(value, (*steps, key), slots, problems, file) for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return [_plain(value, (*steps, i), slots, problems, file) for i, value in enumerate(node)]
    if isinstance(node, str):
        if "$" not in node:
            return node
        try:
            slots.append(_Slot(steps, parse(node), cast_of(steps)))
        except ValueError as error:
            problems.append(Problem(file, place(steps), str(error), _LITERAL))
        return node
    if isinstance(node, (datetime.date, datetime.datetime)):
        return node.isoformat()
    return node


def _remedy(name: str) -> str:
    return f"give it in the app's parameters, or with --set {name}=…"


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f"“{text}” is not a whole number")
    return int(text)


def _octal(text: str) -> int:
    if not re.fullmatch(r"(0o)?[0-7]+", text):
        raise ValueError(f"“{text}” is not an octal mode")
    return int(text.removeprefix("0o"), 8)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"“{text}” is not a number") from None


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "y", "on"):
        return True
    if text.lower() in ("0", "false", "no", "n", "off"):
        return False
    raise ValueError(f"“{text}” is neither true nor false")


def _port(text: str) -> int | str:
    # A published port may be a range; a plain one must be a number.
    return text if re.fullmatch(r"\d+-\d+", text) else _integer(text)


_CASTS: dict[str, Callable[[str], object]] = {
    "services.*.configs.*.mode": _octal,
    "services.*.secrets.*.mode": _octal,
    "services.*.deploy.placement.max_replicas_per_node": _integer,
    "services.*.deploy.replicas": _integer,
    "services.*.deploy.resources.limits.pids": _integer,
    "services.*.deploy.restart_policy.max_attempts": _integer,
    "services.*.deploy.rollback_config.max_failure_ratio": _number,
    "services.*.deploy.rollback_config.parallelism": _integer,
    "services.*.deploy.update_config.max_failure_ratio": _number,
    "services.*.deploy.update_config.parallelism": _integer,
    "services.*.healthcheck.disable": _boolean,
    "services.*.healthcheck.retries": _integer,
    "services.*.init": _boolean,
    "services.*.oom_kill_disable": _boolean,
    "services.*.pids_limit": _integer,
    "services.*.ports.*.published": _port,
    "services.*.ports.*.target": _integer,
    "services.*.privileged": _boolean,
    "services.*.read_only": _boolean,
    "services.*.scale": _integer,
    "services.*.stdin_open": _boolean,
    "services.*.tty": _boolean,
    "services.*.ulimits.*": _integer,
    "services.*.ulimits.*.hard": _integer,
    "services.*.ulimits.*.soft": _integer,
    "services.*.volumes.*.read_only": _boolean,
    "services.*.volumes.*.tmpfs.size": _integer,
    "services.*.volumes.*.volume.nocopy": _boolean,
    "networks.*.attachable": _boolean,
    "networks.*.external": _boolean,
    "networks.*.internal": _boolean,
    "configs.*.external": _boolean,
    "secrets.*.external": _boolean,
    "volumes.*.external": _boolean,
}
_CAST_STEPS = [(pattern.split("."), cast) for pattern, cast in _CASTS.items()]


def cast_of(steps: Sequence[Step]) -> Callable[[str], object] | None:
    """Return what casts text at this place of a stack to its type, None where text is meant."""
    for pattern, cast in _CAST_STEPS:
        if len(pattern) == len(steps) and all(
            want in ("*", step) for want, step in zip(pattern, steps, strict=True)
        ):
            return cast
    return None
