"""Files of environment variables: `.env` beside a stack file, and those that `env_file` names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ronron.catalog.interpolate import compile
from ronron.errors import Problem, SiteError

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*(?:[=:]\s*(.*))?$", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def parse(text: str, file: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Read `KEY=value` lines, as Compose does: comments, quotes, `export`, `${OTHER}`.

    `variables` win over the file's own where values refer to others. Raises SiteError with the
    line of what cannot be read.
    """
    found: dict[str, str] = {}
    lines = text.removeprefix("\ufeff").splitlines()
    number = 0
    while number < len(lines):
        start, line = number + 1, lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise SiteError([Problem(file, f"line {start}", "is not KEY=value", "correct it")])
        key, value = match.group(1), match.group(2)
        if value is None:
            found[key] = variables.get(key, "")
            continue
        quote = value[:1] if value[:1] in ("'", '"') else ""
        while quote and not _closed(value, quote) and number < len(lines):
            value += "\n" + lines[number]
            number += 1
        if quote and not _closed(value, quote):
            raise SiteError(
                [Problem(file, f"line {start}", "this quote is not closed", "close it")]
            )
        literal = _unquote(value, quote)
        if quote != "'" and "$" in literal:
            try:
                literal = compile(literal, file).render({**found, **variables})
            except SiteError:
                literal = literal.replace("$$", "$")
        found[key] = literal
    return found


def _closed(value: str, quote: str) -> bool:
    return _end(value, quote) >= 0


def _end(value: str, quote: str) -> int:
    at = 1
    while at < len(value):
        if value[at] == "\\" and quote == '"':
            at += 2
            continue
        if value[at] == quote:
            return at
        at += 1
    return -1


def _unquote(value: str, quote: str) -> str:
    if not quote:
        return re.split(r"\s+#", value, maxsplit=1)[0].strip() if value[:1] != "#" else ""
    inside = value[1 : _end(value, quote)]
    if quote == "'":
        return inside
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), inside, flags=re.S)
