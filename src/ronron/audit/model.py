"""What an audit finds, and what of it is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import get_args

from ronron.site.audit import Accepted, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the worst."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    `id` names the kind, the same at each audit; `where` the server, app or domain; `evidence` is
    what was seen, `remedy` what to do.
    """

    id: str
    severity: Severity
    where: str
    what: str
    evidence: str
    remedy: str

    @property
    def rank(self) -> int:
        """Its place among the severities: more is worse."""
        return SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class Audit:
    """The outcome: what is open, worst first; what is accepted, with the reason; what was not
    looked at, and why."""

    open: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Accepted], ...] = ()
    skipped: tuple[str, ...] = ()

    def failed(self, severity: Severity) -> bool:
        """Whether something of that severity or worse is open."""
        return any(one.rank >= SEVERITIES.index(severity) for one in self.open)


def settle(
    findings: Iterable[Finding],
    accepted: Iterable[Accepted],
    today: date,
    skipped: Iterable[str] = (),
) -> Audit:
    """Take apart what is open and what is accepted; an acceptance that is over is a finding."""
    known = tuple(accepted)
    valid = [one for one in known if date.fromisoformat(one.until) >= today]
    still_open, taken = [], []
    found = list(findings)
    for finding in found:
        match = next((one for one in valid if _covers(one, finding)), None)
        if match is None:
            still_open.append(finding)
        else:
            taken.append((finding, match))
    for number, one in enumerate(known):
        matches = any(_covers(one, finding) for finding in found)
        where = f"ronron.yml: audit.accept.{number}"
        if one not in valid and matches:
            what = f"{one.id} was accepted until {one.until}"
            remedy = "mend it, or accept it until another day"
            still_open.append(
                Finding("acceptance-expired", "medium", where, what, one.reason, remedy)
            )
        elif not matches:
            what = f"{one.id} is accepted{f' for {one.where}' if one.where else ''} and not there"
            still_open.append(
                Finding("acceptance-unused", "info", where, what, one.reason, "remove it")
            )
    still_open.sort(key=lambda one: (-one.rank, one.where, one.id))
    return Audit(tuple(still_open), tuple(taken), tuple(skipped))


def _covers(accepted: Accepted, finding: Finding) -> bool:
    return accepted.id == finding.id and accepted.where in (None, finding.where)
