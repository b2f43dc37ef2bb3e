"""The figures of servers and apps over time, as the monitoring has them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from ronron.plan.monitoring import query_range
from ronron.plan.session import Session

POINTS = 24

Figures = dict[str, dict[str, tuple[float | None, ...]]]
"""By server or app, then by kind: the values, oldest first, None where there was none."""

SERVERS = {
    "cpu": "ronron:cpu_percent",
    "memory": "ronron:memory_percent",
    "disk": "max by (server) (ronron:disk_percent)",
}
APPS = {
    "cpu": "sum by (app) (ronron:container_cpu_cores)",
    "memory": "sum by (app) (ronron:container_memory_bytes)",
    "requests": "ronron:app_requests:rate1m",
    "errors": "ronron:app_error_ratio:rate5m",
    "seconds": "ronron:app_seconds:p95",
}


def top(session: Session, *, start: float, end: float) -> tuple[Figures, Figures]:
    """Servers' and apps' figures from `start` to `end` (seconds since 1970)."""
    return (
        servers(session, start=start, end=end),
        _figures(session, APPS, "app", start, end),
    )


def servers(session: Session, *, start: float, end: float) -> Figures:
    """Servers' figures alone."""
    return _figures(session, SERVERS, "server", start, end)


def _figures(
    session: Session, wanted: Mapping[str, str], label: str, start: float, end: float
) -> Figures:
    found: Figures = {}
    for kind, expression in wanted.items():
        for series in query_range(session, expression, start=start, end=end, points=POINTS):
            if name := series.labels.get(label):
                values = (v if v is not None and isfinite(v) else None for v in series.values)
                found.setdefault(name, {})[kind] = tuple(values)
    return dict(sorted(found.items()))
