"""What the models of the site's files are made of: the base of all, and the types of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from ronron.site import values

Name = Annotated[
    str,
    AfterValidator(values.name),
    WithJsonSchema({"type": "string", "pattern": values.NAME_PATTERN}),
]
Key = Annotated[str, WithJsonSchema({"type": "string", "pattern": values.NAME_PATTERN})]
"""A key that is the name of what is below it: checked there."""

Domain = Annotated[str, AfterValidator(values.domain)]
Address = Annotated[str, AfterValidator(values.address)]
SitePath = Annotated[str, AfterValidator(values.site_path)]
Label = Annotated[str, AfterValidator(values.label_name)]
Service = Annotated[str, AfterValidator(values.service_name)]
Parameter = Annotated[str, AfterValidator(values.parameter_name)]
Duration = Annotated[
    str,
    AfterValidator(values.duration),
    WithJsonSchema({"type": "string", "pattern": values.DURATION_PATTERN}),
]
Scalar = Annotated[
    str | int | float | bool,
    PlainValidator(values.scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class Model(BaseModel):
    """Base of all: frozen, strict, unknown keys refused, an empty value is the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, Mapping):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
