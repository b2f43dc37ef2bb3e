"""What an audit found, as tests compare it."""

from __future__ import annotations

from collections.abc import Iterable

from ronron.audit.model import Finding


def ids(findings: Iterable[Finding]) -> dict[str, str]:
    """What was found: severities by id."""
    return {one.id: one.severity for one in findings}
