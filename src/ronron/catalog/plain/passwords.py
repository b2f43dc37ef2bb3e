"""Passwords in clear: found, and replaced by generated secrets where the images can read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ronron.catalog.interpolate import Step, parse
from ronron.catalog.plain import images
from ronron.catalog.plain.objects import SECRET_NAME
from ronron.catalog.plain.reading import Reading, listing, short_name
from ronron.site.secret import HIDDEN

_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ENCRYPTION_?KEY"
    r"|SECRET_?KEY|AUTH_KEY|SALT|_PWD|_PASS|^PASS|_KEY_BASE)"
)
_NOT_SECRET = re.compile(r"(_FILE|_PATH|_URL|_TTL|_EXPIR\w*|_LIFETIME|_LENGTH|_POLICY|_ENABLED)$")
_SWITCH = re.compile(r"(true|false|yes|no|on|off|none|null|\d{1,4})?$", re.I)
_IN_URL = re.compile(r"[a-z][a-z0-9+]*://[^/\s:@]*:([^/\s@]+)@")
_OPTION = r"--?(?:requirepass|password|rootpassword|token|secret)(?:=|\s+)"
_ARGUMENT = re.compile(rf"{_OPTION}(\S+)", re.I)
# Rather too much than too little: up to the last @, and whole quoted arguments.
_MASKED = re.compile(
    rf"([a-z][a-z0-9+.-]*://[^/\s:@]*:)\S+(?=@)|({_OPTION})(?:'[^']*'|\"[^\"]*\"|\S+)", re.I
)


@dataclass(frozen=True)
class Literal:
    """A password in clear, and the variable of `service` that holds it (empty: its command)."""

    service: str
    variable: str
    text: str


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    upper = name.upper()
    return bool(_SECRET_NAME.search(upper)) and not _NOT_SECRET.search(upper)


def masked(text: str) -> str:
    """`text` with the passwords in its URLs and its arguments replaced by `***`."""
    return _MASKED.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", text)


def literal(raw: object) -> str:
    """Return the part of a value that is not a variable: its text, or a variable's default."""
    if not isinstance(raw, str):
        return "" if raw is None else str(raw)
    try:
        parts = parse(raw)
    except ValueError:
        return raw
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif part.operator.endswith("-"):
            text += "".join(piece for piece in part.argument if isinstance(piece, str))
    return text


def find(
    services: Mapping[str, Any], value: Callable[[object], str] = literal
) -> Iterator[Literal]:
    """Find passwords in clear: in variables by their name, in URLs, in arguments.

    `value` tells what a raw value holds in clear: by default nothing where it is a variable
    without a default.
    """
    for service, body in services.items():
        for name, raw in (body.get("environment") or {}).items():
            text = value(raw)
            if is_secret_name(name) and not _SWITCH.match(text):
                yield Literal(service, name, text)
            elif match := _IN_URL.search(text):
                yield Literal(service, name, match[1])
        for key in ("command", "entrypoint"):
            raw = body.get(key)
            words = " ".join(value(word) for word in listing(raw))
            if match := _ARGUMENT.search(words):
                text = match[1]
                if text and not text.startswith("/run/secrets/"):
                    yield Literal(service, "", text)


def report(reading: Reading, services: Mapping[str, Any]) -> None:
    """Note each password that is still in clear."""
    for found in find(services, _values(reading)):
        steps: tuple[Step, ...] = ("services", found.service, "environment", found.variable)
        if found.variable and steps not in reading.document.lines:
            steps = ("services", found.service, "environment")
        where = found.variable if found.variable else "command"
        place = steps if found.variable else ("services", found.service, "command")
        text = f"{found.service}: {where} holds a password in clear (--secrets replaces it where "
        reading.note(place, text + "the image can read a file)")


def replace(reading: Reading, tree: dict[str, Any], services: dict[str, Any]) -> list[str]:
    """Replace passwords by secrets; return the secrets' names.

    A password that several services share becomes one secret, and only when every place that holds
    it can read a file.
    """
    values: dict[str, list[Literal]] = {}
    for found in find(services, _values(reading)):
        values.setdefault(found.text, []).append(found)
    made: list[str] = []
    for text, places in values.items():
        forms = [_file_form(reading, services, place) for place in places]
        if any(form is None for form in forms) or _elsewhere(reading, services, text, places):
            continue
        taken = [*made, *(tree.get("secrets") or {})]
        name = short_name(places[0].variable, taken, SECRET_NAME)
        for place, form in zip(places, forms, strict=True):
            body = services[place.service]
            variables = {
                (str(form) if key == place.variable else key): (
                    f"/run/secrets/{name}" if key == place.variable else value
                )
                for key, value in body["environment"].items()
            }
            body["environment"] = variables
            if name not in (body.get("secrets") or []):
                body["secrets"] = [*(body.get("secrets") or []), name]
            steps = ("services", place.service, "environment", place.variable)
            if steps not in reading.document.lines:
                steps = ("services", place.service, "environment", "")
            message = f"{place.service}: {place.variable} became the generated secret {name}"
            reading.note(steps, message)
        made.append(name)
    if made:
        declared = tree.setdefault("secrets", {})
        declared |= {name: {"external": True} for name in made}
    return made


def _values(reading: Reading) -> Callable[[object], str]:
    return lambda raw: reading.value(raw, ())


def _file_form(reading: Reading, services: Mapping[str, Any], place: Literal) -> str | None:
    if not place.variable or not is_secret_name(place.variable):
        return None
    image = _values(reading)(services[place.service].get("image"))
    return images.file_variable(image, place.variable)


def _elsewhere(
    reading: Reading, services: Mapping[str, Any], text: str, places: list[Literal]
) -> bool:
    """Whether the password stands in something else too, where it could not be replaced."""
    value = _values(reading)
    known = {(place.service, place.variable) for place in places}
    word = re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")
    named = re.compile(rf"(pass(word|wd)?|pwd)\s*[=:]\s*['\"]?{re.escape(text)}(?![\w-])", re.I)
    for service, body in services.items():
        for name, raw in (body.get("environment") or {}).items():
            if (service, name) in known:
                continue
            held = value(raw)
            if (is_secret_name(name) and word.search(held)) or named.search(held):
                return True
        for key in ("command", "entrypoint"):
            held = " ".join(value(word) for word in listing(body.get(key)))
            if len(text) > 3 and word.search(held):
                return True
    return False
