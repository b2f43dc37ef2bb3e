"""Secrets as a type: whatever prints, logs or dumps one shows `***`; only `reveal` tells."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any, NoReturn

HIDDEN = "***"
PIECE = 5
"""As many characters of a secret in a row hide the line that they stand in."""


class Secret:
    """A value that must not be seen: its repr, str, format and dumps are `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that hands it on."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def _bytes(self) -> bytes:
        return self._value.encode("utf-8", "surrogatepass")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:  # noqa: ANN401
        """Fields of pydantic models take a Secret or text, and are dumped as `***`."""
        from pydantic_core import core_schema

        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(cls, core_schema.str_schema()),
            ],
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: HIDDEN),
        )


def redacted(lines: Iterable[str], secrets: Iterable[Secret]) -> list[str]:
    """Lines that others wrote, `***` instead of each that holds a secret or a piece of one."""
    values = [secret.reveal() for secret in secrets]
    pieces = {
        value[i : i + PIECE] for value in values for i in range(max(1, len(value) - PIECE + 1))
    }
    return [HIDDEN if any(piece and piece in line for piece in pieces) else line for line in lines]
