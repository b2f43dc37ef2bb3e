"""Whether a health check would notice that the program behind it does not work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

_SHELLS = ("sh", "/bin/sh", "bash", "/bin/bash", "ash", "/bin/ash")
_NOTHING = re.compile(
    r"(/usr)?(/bin/)?true\b|:|exit(\s+0)?|echo\b.*|printf\b[^|]*|sleep\b.*|date|ls\b.*|pwd"
    r"|cat\s+/(etc|proc)\S*|(test|\[)\s+-[a-z]\s+\S+(\s+\])?|pgrep\b.*|pidof\b.*|ps\b.*|uname\b.*"
    r"|whoami|kill\s+-0\b.*"
)
_ALWAYS = re.compile(r"(\|\||;)\s*(true|:|exit\s+0|exit|echo\b[^|;&]*)\s*$")


def fault(check: object) -> str | None:
    """Say what is wrong with a service's `healthcheck`, None when it asks the program something."""
    if not isinstance(check, Mapping) or not check.get("test") or check.get("disable"):
        return "without a health check a program that hangs is never restarted or reported"
    command = _command(check["test"])
    if not command or command == "NONE":
        return "its health check is off"
    if _ALWAYS.search(command):
        return f"the health check succeeds whatever happens: {command}"
    plain = re.sub(r"\s*\|\|\s*(exit|kill)\b.*$", "", command).strip()
    steps = [step.strip() for step in re.split(r"&&|;", plain) if step.strip()]
    if all(_NOTHING.fullmatch(step) for step in steps):
        return f"the health check asks the program nothing: {command}"
    return None


def _command(test: object) -> str:
    if isinstance(test, str):
        return test.strip()
    words = [str(word) for word in test] if isinstance(test, (list, tuple)) else []
    if words[:1] in (["CMD"], ["CMD-SHELL"], ["NONE"]):
        if words[0] == "NONE":
            return "NONE"
        words = words[1:]
    if len(words) == 3 and words[0] in _SHELLS and words[1].startswith("-"):
        return words[2].strip()
    return words[0].strip() if len(words) == 1 else shlex.join(words)
