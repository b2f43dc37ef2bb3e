"""What is known of how a server is closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Defence:
    """How a server is closed.

    `client` is whom its SSH session is with: the operator's address. `addresses` are its own,
    `release` is its system (`debian 13`), `algorithms` are those that its OpenSSH knows. `rules`
    and `sshd` are the texts of our files (empty where there is none), `listing` the firewall's
    table as the kernel has it, `loaded` the same as it was when the rules were loaded.
    """

    client: str = ""
    addresses: tuple[str, ...] = ()
    release: str = ""
    algorithms: frozenset[str] = frozenset()
    rules: str = ""
    loaded: str = ""
    listing: str = ""
    sshd: str = ""


def program() -> str:
    """The beginning of a program that runs on a server: it defines `look_at_defence`, and
    `client` for who asks for no more."""
    return resources.files("ronron.servers.defend").joinpath("look.py").read_text()


def parse(answer: Mapping[str, Any]) -> Defence:
    """What `look_at_defence` returned."""
    return Defence(
        **{
            **answer,
            "addresses": tuple(answer["addresses"]),
            "algorithms": frozenset(answer["algorithms"]),
        }
    )
