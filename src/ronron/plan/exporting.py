"""An app handed over: its snapshot written to a file of open formats, whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ronron.backup import export
from ronron.backup.export import Exported
from ronron.backup.restic import Snapshot
from ronron.catalog.recipe import Recipe
from ronron.errors import OperatorError, RonronError
from ronron.events import step
from ronron.plan.make import recipe_of
from ronron.plan.repository import restic
from ronron.plan.session import Session
from ronron.site.models import App

ENDINGS = {".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.zst": "zst"}


def compression(path: Path) -> str:
    """How a file of that name is compressed. Raises OperatorError when it cannot be told."""
    for ending, kind in ENDINGS.items():
        if path.name.endswith(ending):
            if kind == "zst" and shutil.which("zstd") is None:
                raise OperatorError("zstd is not installed here", remedy="name the file .tar.gz")
            return kind
    raise OperatorError(f"{path}: ends with none of {', '.join(ENDINGS)}", remedy="rename it")


def write(session: Session, snapshot: Snapshot, path: Path, *, with_secrets: bool) -> Exported:
    """Write all that belongs to the app of `snapshot` to the new file `path`, mode 0600.

    Raises RonronError when the snapshot cannot be read whole; there is no file then.
    """
    kind, name = compression(path), snapshot.app
    values = None
    if with_secrets:
        values = {key: one.reveal() for key, one in session.vault.read(name).values.items()}
    site = session.loaded.site
    relay = site.mail
    hidden = [
        site.contact,
        site.name,
        *((relay.host, relay.user or "", relay.sender) if relay else ()),
    ]

    def recipe(declared: Mapping[str, Any]) -> Recipe:
        app = App.model_validate({"name": name, **declared})
        return recipe_of(app, session.loaded, session.catalog)

    with step(session.report, "export", name), whole(path) as file, packed(file, kind) as output:
        return export.write(restic(session), snapshot, output, kind, recipe, values, hidden)


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is at `path` once the context has ended well."""
    try:
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OperatorError(f"{path}: cannot be written: {error.strerror}") from error
    new = Path(made)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise RonronError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def packed(file: IO[bytes], kind: str) -> Iterator[IO[bytes]]:
    """What is written goes to `file`, through zstd where `kind` says so."""
    if kind != "zst":
        yield file
        return
    process = subprocess.Popen(["zstd", "--quiet", "-T0", "-c"], stdin=subprocess.PIPE, stdout=file)
    assert process.stdin  # noqa: S101 - as asked
    try:
        yield process.stdin
        process.stdin.close()
        if process.wait():
            raise RonronError(f"zstd failed with status {process.returncode}")
    finally:
        with suppress(OSError):
            process.stdin.close()
        if process.poll() is None:
            process.kill()
            process.wait()
