"""The app `shelf` as its users leave it: words in its database, files among its uploads."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from e2e import cloud
from e2e.cloud import Operator

VOLUME = "/srv/ronron/volumes/shelf/content"
CONTENT = f"{VOLUME}/images"
HEALTH = "/health"
FOLDER = "/srv/ronron/backups/shelf"


def back_up(operator: Operator, app: str = "shelf") -> dict[str, Any]:
    """Back the app up; the snapshot as JSON has it."""
    out, _ = operator.ronron("backup", app, "--json")
    (made,) = json.loads(out)["snapshots"]
    assert isinstance(made, dict)
    return made


def snapshots(operator: Operator, app: str = "shelf") -> list[str]:
    """The ids of the app's snapshots, whether something is wrong with backups or not."""
    process = operator.start("backups", app, "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 1), err
    return [one["id"] for one in json.loads(out)]


def sql(operator: Operator, statement: str, app: str = "shelf") -> str:
    """Run a statement in the app's database; what it printed."""
    return cloud.sql(operator, statement, app, "shelf")


def title(operator: Operator, app: str = "shelf") -> str:
    """The words that were written last."""
    return sql(operator, "SELECT words FROM told", app)


def write(operator: Operator, words: str) -> None:
    """Put words into the database, instead of those before."""
    table = "CREATE TABLE IF NOT EXISTS told (words TEXT); DELETE FROM told;"
    sql(operator, f"{table} INSERT INTO told VALUES ('{words}')")  # noqa: S608


def upload(operator: Operator, name: str, kibibytes: int = 300) -> str:
    """Put a file of random bytes among the uploads; returns its digest."""
    path = f"{CONTENT}/{name}"
    size = ("bs=1024", f"count={kibibytes}")
    operator.on("manager", "dd", "if=/dev/urandom", f"of={path}", *size)
    operator.on("manager", "chown", "1000:1000", path)
    return digest(operator, path)


def digest(operator: Operator, path: str) -> str:
    """The SHA-256 of a file of the manager."""
    return operator.on("manager", "sha256sum", path).split()[0]


def is_there(operator: Operator, path: str) -> bool:
    """Whether a path of the manager exists."""
    container = operator.lab.server("manager").container
    return subprocess.run(["docker", "exec", container, "test", "-e", path]).returncode == 0
