"""Where the traceback of a bug goes: a file that only the operator can read."""

from __future__ import annotations

import os
import platform
import traceback
from datetime import datetime
from importlib.metadata import version
from pathlib import Path


def save_traceback(error: BaseException) -> str:
    """Save the traceback of `error` under the user's state folder, and say where, in words.

    Local variables are not written, and the command line neither.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = state / "ronron" / f"traceback-{now}-{os.getpid()}.txt"
    text = f"ronron {version('ronron')}, Python {platform.python_version()}\n"
    text += "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as problem:
        return f"its traceback could not be saved in {path}: {problem.strerror}"
    return f"its traceback is in {path}"
