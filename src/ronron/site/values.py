"""Rules for single values in the site's files: each returns the value as kept, or raises a fault.

A fault carries its remedy through pydantic to `site.load`, which words it for a person.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

NAME_PATTERN = "^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"
PRIVATE = tuple(ipaddress.IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""The private IPv4 networks of RFC 1918."""

DURATION_PATTERN = "^([1-9][0-9]*y)?([1-9][0-9]*m)?([1-9][0-9]*d)?([1-9][0-9]*h)?$"
"""restic's durations: years, months, days, hours."""

_CALENDAR = "[A-Za-z0-9*.,:/~ -]*[0-9*][A-Za-z0-9*.,:/~ -]*"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def fault(message: str, remedy: str = "", at: str = "") -> PydanticCustomError:
    """A fault to raise in a validator; `at` is the key it is about, below the present path."""
    return PydanticCustomError(
        "fault", "{message}", {"message": message, "remedy": remedy, "at": at}
    )


def calendar_pattern(*words: str) -> str:
    """The pattern of what is one of `words`, or may be a calendar event of systemd's."""
    return f"^({'|'.join(words)}|{_CALENDAR})$"


def calendar(text: str, pattern: str, what: str, remedy: str) -> str:
    """`text`, where it is as a `calendar_pattern` has it; `what` is what it shall be."""
    if not re.fullmatch(pattern[1:-1], text) or text.startswith("-"):
        raise fault(f"{shown(text)} is not {what}", remedy)
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    """'did you mean X?' for the known word closest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def shown(text: str) -> str:
    """`text` as an error shows it: on one line, not too long, quoted."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def is_name(text: object) -> bool:
    """Whether `text` is a name as `name` has it."""
    return isinstance(text, str) and bool(re.fullmatch(NAME_PATTERN[1:-1], text))


def name(text: str) -> str:
    """A name of a site, server, app or recipe."""
    if not is_name(text):
        raise fault(
            f"{shown(text)} is not a name",
            "a name is 1 to 31 of a-z, 0-9 and -, begins with a letter and does not end with -",
        )
    return text


def _ascii_host(text: str) -> str:
    """A host name in lower case, in its ASCII form (IDNA 2008), or a fault."""
    host = text.strip().removesuffix(".").lower()
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise fault(f"{shown(text)} is not a domain name", "check its spelling") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise fault(
            f"{shown(text)} is not a domain name",
            "labels of letters, digits and - joined by dots, such as blog.example.org",
        )
    return host


def domain(text: str) -> str:
    """A domain name of two labels or more, returned in its ASCII form."""
    if "://" in text or "/" in text:
        raise fault(f"{shown(text)} is a URL", "write the domain name alone, without https:// or /")
    if "*" in text:
        raise fault(f"{shown(text)} is a wildcard", "write one domain name")
    host = _ascii_host(text)
    if "." not in host or host.rsplit(".", 1)[1].isdigit() or "_" in host:
        raise fault(
            f"{shown(text)} is not a domain name", "two labels or more, such as blog.example.org"
        )
    return host


def address(text: str) -> str:
    """A DNS name (in ASCII form) or an IP address."""
    if "@" in text:
        raise fault(f"{shown(text)} names a user", "write the user under user: instead")
    if "://" in text or "/" in text:
        raise fault(f"{shown(text)} is a URL", "write the DNS name or the IP address alone")
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise fault(f"{shown(text)} has a port", "write the port under port: instead")
    host = _ascii_host(text)
    if host.rsplit(".", 1)[-1].isdigit():
        raise fault(f"{shown(text)} is not an IP address", "four numbers from 0 to 255")
    return host


def email(text: str) -> str:
    """An e-mail address: its shape, not whether it answers."""
    local, _, host = text.rpartition("@")
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}", local) or "." not in host:
        raise fault(f"{shown(text)} is not an e-mail address", "such as admin@example.org")
    return f"{local}@{domain(host)}"


def user(text: str) -> str:
    """A Unix user name."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", text):
        raise fault(f"{shown(text)} is not a user name", "such as root or admin")
    return text


def site_path(text: str) -> str:
    """A path below the site's folder, with `/` between its parts."""
    parts = text.split("/")
    if not text or text.startswith("/") or ".." in parts or not text.isprintable():
        raise fault(
            f"{shown(text)} is not a path in the site",
            "copy the file into the site and write its path from there",
        )
    return text


def label_name(text: str) -> str:
    """The name of a swarm node's label; those that begin with `ronron.` are ours."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", text):
        raise fault(f"{shown(text)} is not a label", "a-z, 0-9, and . _ - inside")
    if text.startswith("ronron."):
        raise fault(f"{text} is one of ronron's own labels", "choose another name")
    return text


def service_name(text: str) -> str:
    """The name of a service in a Compose file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise fault(f"{shown(text)} is not a service's name", "as in the stack: such as web")
    return text


def parameter_name(text: str) -> str:
    """The name of a recipe's parameter or of a stack file's variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", text):
        raise fault(f"{shown(text)} is not a parameter's name", "letters, digits and _")
    return text


def web(text: str) -> str:
    """A service of a stack and its port, `SERVICE:PORT`."""
    service, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise fault(f"{shown(text)} is not SERVICE:PORT", "such as web:8080")
    return f"{service_name(service)}:{int(port)}"


def scalar(value: Any) -> str | int | float | bool:  # noqa: ANN401
    """A parameter's value: text, a number, true or false."""
    if not isinstance(value, (str, int, float, bool)):
        raise fault("must be text, a number, true or false", "put text in quotes")
    if not isinstance(value, str) and not (math.isfinite(value) and abs(value) < 1e18):
        raise fault(f"{value} is too big a number", "put it in quotes")
    return value


def roles(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list of roles that is not empty, and in which nothing is said twice."""
    if not items:
        raise fault("is empty", "give one at least, or remove the key")
    for item in items:
        if items.count(item) > 1:
            raise fault(f"{item} is there twice", "remove one")
    return items


def managers(names: Sequence[str]) -> None:
    """Refuse a number of managers with which a swarm is no safer, or does not work."""
    if not names:
        raise fault("no server is a manager", "give one server roles: [manager]")
    if len(names) > 3:
        raise fault(
            f"{len(names)} managers ({', '.join(names)}): three are enough, "
            "each more slows every change of the swarm",
            "keep three, make the others workers",
        )
    if len(names) == 2:
        raise fault(
            f"two managers ({' and '.join(names)}): a majority of two is two, so losing either "
            "stops the swarm from being changed, which is worse than having one",
            "have one manager, or three",
        )


def acme_directory(text: str) -> str:
    """Let's Encrypt by name, or the https URL of an ACME directory."""
    if text in ("letsencrypt", "letsencrypt-staging"):
        return text
    try:
        url = urlsplit(text)
        good = url.scheme == "https" and bool(url.hostname) and text.isprintable()
    except ValueError:
        good = False
    if not good or " " in text:
        raise fault(
            f"{shown(text)} is not an ACME directory",
            "letsencrypt, letsencrypt-staging, or a URL that begins with https://",
        )
    return text


def subnet(text: str) -> str:
    """A private IPv4 network between /16 and /24."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise fault(f"{shown(text)} is not an IPv4 network", "such as 10.90.0.0/16") from None
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise fault(f"{text} is not a private network", "in 10/8, 172.16/12 or 192.168/16")
    if not 16 <= network.prefixlen <= 24:
        raise fault(f"{text} is not between /16 and /24", "such as 10.90.0.0/16")
    return str(network)


def interface(text: str) -> str:
    """A network interface's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,14}", text):
        raise fault(f"{shown(text)} is not a network interface", "such as eth0")
    return text


def host_port(text: str, default: int) -> tuple[str, int]:
    """`IP`, `IP:PORT` or `[IPv6]:PORT` apart. Raises ValueError when it is none of them."""
    match = re.fullmatch(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", text)
    host = (match[1] or match[3]) if match else text
    port = int((match[2] or match[4] or default) if match else default)
    if not 0 < port < 65536:
        raise ValueError(text)
    return str(ipaddress.ip_address(host)), port


def resolver(text: str) -> str:
    """A name server: an IP address, with a port or not."""
    try:
        host_port(text, 53)
    except ValueError:
        raise fault(
            f"{shown(text)} is not a name server's address", "such as 192.0.2.53 or 127.0.0.1:5353"
        ) from None
    return text


def memory(text: str) -> str:
    """A size of memory with its unit."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}[KMGT]", text):
        raise fault(f"{shown(text)} is not a size", "a whole number and K, M or G, such as 512M")
    if memory_bytes(text) < 6 * 2**20:
        raise fault(f"{text} is less than a container can start with", "6M or more")
    return text


def memory_bytes(text: str) -> int:
    """`512M` in bytes."""
    return int(text[:-1]) * _UNITS[text[-1]]


def cpus(value: Any) -> str:  # noqa: ANN401
    """A number of CPUs, written as a number or as text."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?", text):
        raise fault(f"{shown(text)} is not a number of CPUs", "such as 0.5 or 2")
    if float(text) <= 0:
        raise fault("must be more than 0", "such as 0.5")
    return text


def image(text: str) -> str:
    """An image with a tag or digest that stays what it is."""
    match = re.fullmatch(
        r"([a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9][a-z0-9._/-]*(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
        r"(?P<digest>@sha256:[0-9a-f]{64})?",
        text,
    )
    if not match:
        raise fault(f"{shown(text)} is not an image", "such as ghost:6.49.0")
    tag = match["tag"]
    if not match["digest"] and (tag is None or tag == "latest"):
        raise fault(f"{text} is whatever is newest that day", "add a version, such as :6.49.0")
    return text


def duration(text: str) -> str:
    """A duration as restic reads it."""
    if not text or not re.fullmatch(DURATION_PATTERN[1:-1], text):
        raise fault(
            f"{shown(text)} is not a duration", "years, months, days, hours: 1y6m, 14d, 12h"
        )
    return text


def clock(text: str) -> str:
    """A time of day."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise fault(f"{shown(text)} is not a time of day", "hours and minutes in quotes: '03:30'")
    return text


def repository(text: str) -> str:
    """Where a restic repository is, without what it takes to log in."""
    kinds = (
        "/FOLDER, sftp:USER@HOST:/PATH, rest:https://…, s3:https://HOST/BUCKET, rclone:REMOTE:PATH"
    )
    kind, _, rest = text.partition(":")
    if any(not character.isprintable() for character in text):
        raise fault(f"{shown(text)} is not a repository", f"one of {kinds}")
    if text.startswith("/") and text != "/" and ".." not in text.split("/"):
        return text
    if kind in ("rest", "s3") and (url := urlsplit(rest)).scheme in ("http", "https"):
        if url.username is not None or url.password is not None:
            login = "rest_user and rest_password" if kind == "rest" else "s3_key and s3_secret"
            raise fault(
                f"{kind}:{url.scheme}://…@{url.hostname}: logs in here, in clear",
                f"leave it away, and put {login} in the vault: ronron secrets set backup NAME",
            )
        if url.hostname and (kind == "rest" or url.path.strip("/")):
            return text
    if kind == "sftp" and re.fullmatch(r"[A-Za-z_][\w.-]*@[A-Za-z0-9.-]+:/.+", rest):
        return text
    if kind == "rclone" and re.fullmatch(r"[\w][\w .+@-]*:.+", rest):
        return text
    raise fault(f"{shown(text)} is not a repository that ronron knows", f"one of {kinds}")
