"""Traefik's rules: version 1 (`Host:a;PathPrefix:/x`), 2 and 3 (``Host(`a`) && …``) in one form.

Syntax as in the "Routers" pages of Traefik's documentation for 1.7, 2.11 and 3.x, and its
migration guide from 2 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Match(NamedTuple):
    """Requests for one of `hosts` (any host when empty) that fulfil `rest`, a version 3 rule."""

    hosts: tuple[str, ...]
    rest: str


class RuleError(ValueError):
    """A rule that cannot be carried over; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


_ALTERNATIVES = 64
_TOKEN = re.compile(r"\s*(&&|\|\||!|\(|\)|,|[A-Za-z]+|`[^`]*`|\"(?:\\.|[^\"\\])*\")")
_ANY_HOST = re.compile(r"\^?(\{\w+:)?(\.[+*]|\.\{1,\})\}?\$?")
_RENAMED = {"headers": "Header", "headersregexp": "HeaderRegexp", "hostheader": "Host"}
_MATCHERS: tuple[str, ...] = (
    "Host",
    "HostRegexp",
    "Path",
    "PathPrefix",
    "PathRegexp",
    "Method",
    "Query",
)
_MATCHERS += ("QueryRegexp", "Header", "HeaderRegexp", "ClientIP")
_KNOWN = {name.lower(): name for name in _MATCHERS} | _RENAMED

Atom = tuple[bool, str, tuple[str, ...]]
"""Whether it is negated, the matcher's version 3 name, its arguments."""


def parse(rule: str) -> list[Match]:
    """Read a rule of version 2 or 3. Raises RuleError."""
    tokens = []
    at = 0
    while rule[at:].strip():
        token = _TOKEN.match(rule, at)
        if token is None:
            raise RuleError(f"this rule cannot be read at “{rule[at : at + 20]}”", "correct it")
        tokens.append(token[1])
        at = token.end()
    if not tokens:
        return [Match((), "")]
    alternatives, rest = _either(tokens)
    if rest:
        raise RuleError(f"this rule cannot be read at “{rest[0]}”", "correct it")
    return _group(_split(alternative) for alternative in alternatives)


def _either(tokens: list[str]) -> tuple[list[list[Atom]], list[str]]:
    found, rest = _both(tokens)
    while rest and rest[0] == "||":
        more, rest = _both(rest[1:])
        found = found + more
    return found, rest


def _both(tokens: list[str]) -> tuple[list[list[Atom]], list[str]]:
    found, rest = _one(tokens)
    while rest and rest[0] == "&&":
        more, rest = _one(rest[1:])
        found = [left + right for left in found for right in more]
        if len(found) > _ALTERNATIVES:
            raise RuleError("this rule has too many alternatives", "split it into several routers")
    return found, rest


def _one(tokens: list[str]) -> tuple[list[list[Atom]], list[str]]:
    if not tokens:
        raise RuleError("this rule ends too early", "complete it")
    first, rest = tokens[0], tokens[1:]
    if first == "!":
        found, rest = _one(rest)
        if len(found) != 1 or len(found[0]) != 1:
            raise RuleError("! before more than one matcher", "put it before each matcher")
        negated, name, arguments = found[0][0]
        return [[(not negated, name, arguments)]], rest
    if first == "(":
        found, rest = _either(rest)
        if not rest or rest[0] != ")":
            raise RuleError("a parenthesis is not closed", "close it")
        return found, rest[1:]
    return _call(first, rest)


def _call(name: str, tokens: list[str]) -> tuple[list[list[Atom]], list[str]]:
    matcher = _KNOWN.get(name.lower())
    if matcher is None or not tokens or tokens[0] != "(":
        raise RuleError(f"the matcher {name} cannot be carried over", "use Host and PathPrefix")
    arguments: list[str] = []
    rest = tokens[1:]
    while rest and rest[0] != ")":
        if rest[0] != ",":
            arguments.append(rest[0][1:-1])
        rest = rest[1:]
    if not rest:
        raise RuleError("a parenthesis is not closed", "close it")
    return _atoms(matcher, arguments), rest[1:]


def _atoms(matcher: str, arguments: list[str]) -> list[list[Atom]]:
    """The alternatives that one call stands for: version 2 allows several values in one."""
    if matcher == "HostRegexp":
        if all(_ANY_HOST.fullmatch(argument) for argument in arguments):
            return [[]]
        raise RuleError("no certificate can be had for a pattern of hosts", "name each host")
    if matcher in ("Header", "HeaderRegexp", "QueryRegexp"):
        return [[(False, matcher, tuple(arguments))]]
    if matcher == "Query":
        if any("=" in argument for argument in arguments):
            queries = [tuple(argument.split("=", 1)) for argument in arguments]
            return [[(False, matcher, query)] for query in queries]
        return [[(False, matcher, tuple(arguments))]]
    if matcher in ("Path", "PathPrefix"):
        return [[(False, *_path(matcher, argument))] for argument in arguments]
    return [[(False, matcher, (argument,))] for argument in arguments]


def _path(matcher: str, argument: str) -> tuple[str, tuple[str, ...]]:
    if "{" not in argument:
        return matcher, (argument,)
    pattern, at = "", 0
    for variable in re.finditer(r"\{(\w*)(?::((?:[^{}]|\{[^{}]*\})*))?\}", argument):
        # `{name}` alone is one segment of the path.
        pattern += re.escape(argument[at : variable.start()])
        pattern += f"(?:{variable[2]})" if variable[2] else "[^/]+"
        at = variable.end()
    pattern += re.escape(argument[at:])
    return "PathRegexp", (f"^{pattern}$" if matcher == "Path" else f"^{pattern}",)


def _split(alternative: list[Atom]) -> Match:
    hosts: list[str] = []
    rest: list[str] = []
    for negated, name, arguments in alternative:
        if name == "Host":
            if negated:
                raise RuleError("a rule cannot exclude a host here", "name the hosts it is for")
            hosts.append(arguments[0].strip().lower().rstrip("."))
        else:
            text = f"{'!' * negated}{name}({', '.join(f'`{value}`' for value in arguments)})"
            if text not in rest:
                rest.append(text)
    if len(set(hosts)) > 1:
        raise RuleError("no request is for two hosts at once", "use || between the hosts")
    return Match(tuple(hosts[:1]), " && ".join(rest))


def _group(matches: Iterable[Match]) -> list[Match]:
    """Join the alternatives that differ in the host alone, then those that differ in the rest."""
    by_rest: dict[str, dict[str, None]] = {}
    for match in matches:
        by_rest.setdefault(match.rest, {}).update(dict.fromkeys(match.hosts or ("",)))
    by_hosts: dict[tuple[str, ...], list[str]] = {}
    for rest, hosts in by_rest.items():
        key = () if "" in hosts else tuple(hosts)
        by_hosts.setdefault(key, []).append(rest)
    found = []
    for key, rests in by_hosts.items():
        if "" in rests:
            rests = [""]
        if len(rests) == 1:
            found.append(Match(key, rests[0]))
        else:
            joined = " || ".join(f"({rest})" if " && " in rest else rest for rest in rests)
            found.append(Match(key, joined))
    return found


class Legacy(NamedTuple):
    """A version 1 rule: what it matches, and the middlewares that its modifiers become."""

    match: Match
    middlewares: dict[str, dict[str, str]]


def parse_legacy(rule: str) -> Legacy:
    """Read a rule of version 1 (`Host:a,b;PathPrefixStrip:/x`). Raises RuleError."""
    hosts: list[str] = []
    terms: list[str] = []
    middlewares: dict[str, dict[str, str]] = {}
    for part in filter(None, (piece.strip() for piece in rule.split(";"))):
        name, colon, text = part.partition(":")
        values = [value.strip() for value in text.split(",") if value.strip()]
        matcher = name.strip().lower()
        if not colon or not values:
            raise RuleError(f"“{part}” is not a rule of Traefik 1", "write Host:NAME")
        if matcher == "host":
            hosts += [value.lower().rstrip(".") for value in values]
        elif matcher == "hostregexp":
            _atoms("HostRegexp", values)
        elif matcher in ("path", "pathstrip", "pathprefix", "pathprefixstrip"):
            matched = "PathPrefix" if "prefix" in matcher else "Path"
            paths = [_path(matched, value) for value in values]
            terms.append(_any(f"{kind}(`{arguments[0]}`)" for kind, arguments in paths))
            if matcher.endswith("strip"):
                _strip(middlewares, paths)
        elif matcher in ("pathprefixstripregex", "pathstripregex"):
            paths = [_path("PathPrefix", value) for value in values]
            terms.append(_any(f"{kind}(`{arguments[0]}`)" for kind, arguments in paths))
            _strip(middlewares, paths)
        elif matcher == "method":
            terms.append(_any(f"Method(`{value}`)" for value in values))
        elif matcher in ("headers", "headersregexp"):
            kind = "Header" if matcher == "headers" else "HeaderRegexp"
            terms.append(f"{kind}(`{values[0]}`, `{','.join(values[1:])}`)")
        elif matcher == "query":
            terms.append(_any("Query(`{}`, `{}`)".format(*value.split("=", 1)) for value in values))
        elif matcher == "addprefix":
            middlewares["addprefix"] = {"addprefix.prefix": values[0]}
        elif matcher == "replacepath":
            middlewares["replacepath"] = {"replacepath.path": values[0]}
        elif matcher == "replacepathregex":
            regex, _, replacement = text.strip().partition(" ")
            middlewares["replacepath"] = {
                "replacepathregex.regex": regex,
                "replacepathregex.replacement": replacement.strip(),
            }
        else:
            raise RuleError(f"the matcher {name} cannot be carried over", "use Host and PathPrefix")
    return Legacy(Match(tuple(dict.fromkeys(hosts)), " && ".join(terms)), middlewares)


def _any(terms: Iterable[str]) -> str:
    found = list(terms)
    return found[0] if len(found) == 1 else f"({' || '.join(found)})"


def _strip(
    middlewares: dict[str, dict[str, str]], paths: list[tuple[str, tuple[str, ...]]]
) -> None:
    plain = [arguments[0] for kind, arguments in paths if kind != "PathRegexp"]
    regex = [arguments[0] for kind, arguments in paths if kind == "PathRegexp"]
    if plain:
        middlewares["strip"] = {"stripprefix.prefixes": ",".join(plain)}
    if regex:
        middlewares["strip_regex"] = {"stripprefixregex.regex": ",".join(regex)}


def expression(hosts: Iterable[str], rest: str) -> str:
    """Write a version 3 rule."""
    names = [f"Host(`{host}`)" for host in hosts]
    text = " || ".join(names)
    if not rest:
        return text
    if not names:
        return rest
    text = f"({text})" if len(names) > 1 else text
    return f"{text} && ({rest})" if " || " in rest else f"{text} && {rest}"
