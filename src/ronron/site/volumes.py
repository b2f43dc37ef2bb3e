"""`volumes` in `apps/NAME.yml`: what is set for one volume."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from ronron.site import values
from ronron.site.fields import Model


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}[MGT]", text):
        raise values.fault(
            f"{values.shown(text)} is not a size", "a whole number and M, G or T, such as 5G"
        )
    return text


class VolumeSettings(Model):
    """What is set for one volume of an app."""

    quota: Annotated[str, AfterValidator(_size)] | None = Field(
        default=None, description="How large it may get, such as `5G`; can be raised at any time."
    )

    @property
    def bytes(self) -> int:
        """The quota in bytes, 0 for none."""
        return values.memory_bytes(self.quota) if self.quota else 0
