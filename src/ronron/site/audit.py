"""`audit` in `ronron.yml`: what the audit takes for wrong, and what is accepted, until when."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from ronron.site import values
from ronron.site.fields import Model

Severity = Literal["info", "low", "medium", "high", "critical"]


def day(value: Any) -> str:  # noqa: ANN401
    """A date, as text: YAML may have read it already."""
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise values.fault(
            f"{values.shown(str(value))} is not a date", "year, month, day: 2027-01-31"
        ) from None


def text(value: str) -> str:
    """Text that says something."""
    if not value.strip():
        raise values.fault("is empty", "write it for whoever looks at it next")
    return value


class Accepted(Model):
    """A finding that the operator knows of and accepts for a while."""

    id: str = Field(description="The finding's name, as the audit prints it.")
    where: str | None = Field(
        default=None,
        description="Where it is accepted, as the audit prints it; default: everywhere.",
    )
    reason: Annotated[str, AfterValidator(text)] = Field(description="Why it is accepted.")
    until: Annotated[
        str, PlainValidator(day), WithJsonSchema({"type": "string", "format": "date"})
    ] = Field(description="The last day on which it is: `2027-01-31`.")


class Audit(Model):
    """What `ronron audit` takes for wrong."""

    severity: Severity = Field(
        default="medium", description="The least severity of an open finding that ends with 1."
    )
    image_days: int = Field(
        default=90, ge=1, le=3650, description="Age in days from which an image is old."
    )
    accept: Annotated[tuple[Accepted, ...], Field(strict=False)] = Field(
        default=(), description="Findings that are accepted."
    )
