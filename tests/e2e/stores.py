"""The app `stores` as its users leave it: the same words in its SQLite file and in its Redis."""

from __future__ import annotations

from e2e.cloud import Operator


def inside(operator: Operator, service: str, *words: str) -> str:
    process = operator.start("shell", "stores", "--service", service, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def keep(operator: Operator, words: str) -> None:
    """The same words into the SQLite file and into Redis."""
    mark = f"DELETE FROM marks; INSERT INTO marks VALUES ('{words}')"  # noqa: S608
    # What the service writes may be in the way for a moment.
    inside(operator, "notes", "sqlite3", "-cmd", ".timeout 5000", "/data/notes.db", mark)
    inside(operator, "cache", "redis-cli", "set", "greeting", words)


def kept_words(operator: Operator) -> tuple[str, str]:
    mark = inside(operator, "notes", "sqlite3", "/data/notes.db", "SELECT mark FROM marks")
    return mark, inside(operator, "cache", "redis-cli", "get", "greeting")
