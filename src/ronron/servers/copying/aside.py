"""Where a volume's folder goes when another takes its place: beside it, on the same file system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Literal

from ronron.servers.runner import Runner

Why = Literal["moved", "fenced", "moving"]

# Moves a folder, to where nothing is yet; a folder that is not there is no fault.
_RENAME = (
    'if [ -e "$1" ]; then install -d -m 0700 "$(dirname -- "$2")" && mv -nT -- "$1" "$2" '
    '&& [ ! -e "$1" ]; fi'
)
# Deletes folders with the folders in them. These may be subvolumes of btrfs, which are file systems
# of their own to `rm`.
_REMOVE = """
for one; do
    [ -e "$one" ] || continue
    find "$one" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system -- {} +
    rm -rf --one-file-system -- "$one"
done
"""


@dataclass(frozen=True)
class Kept:
    """An old copy of a volume's data: on which server, in which folder."""

    server: str
    path: str


def stamp() -> str:
    """The time, as names of folders have it."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def aside(path: str, why: Why, when: str) -> str:
    """The folder for what was at `path`: `/…/APP/VOLUME` goes to `/…/.moved/APP-WHEN/VOLUME`.

    The root of all volumes is two levels up, so that it stays on its file system.
    """
    volume = PurePosixPath(path)
    app = volume.parent
    return str(app.parent / f".{why}" / f"{app.name}-{when}" / volume.name)


def clear_stale(runner: Runner, path: str, why: Why, when: str) -> None:
    """Delete what was put aside for `why` of the same app as `path` at other times than `when`."""
    folder = PurePosixPath(aside(path, why, when)).parent
    stamped = f"{folder.name.removesuffix(when)}????????T??????Z"
    others = ["-maxdepth", "1", "-name", stamped, "!", "-name", folder.name]
    runner.run(
        ["find", str(folder.parent), *others, "-exec", "rm", "-rf", "--one-file-system", "{}", "+"]
    )


def rename_command(path: str, to: str) -> list[str]:
    """The command that moves the folder `path`, if there is one, to the new folder `to`."""
    return ["sh", "-ec", _RENAME, "sh", path, to]


def rename(runner: Runner, path: str, to: str) -> None:
    """Move the folder `path`, if there is one, to `to`. Raises ServerError when that is taken."""
    runner.run(rename_command(path, to))


def remove_command(*folders: str) -> list[str]:
    """The command that deletes folders which have those of volumes in them, if they are there."""
    return ["sh", "-ec", _REMOVE, "sh", *folders]


def remove_aside_command(app: str, root: str) -> list[str]:
    """The command that deletes all that is aside of an app below `root`, where its volumes are:
    what `aside` names, and what restores have replaced."""
    script = f'set -- "$1"/.*/"$2"-????????T??????Z\n{_REMOVE}'
    return ["sh", "-ec", script, "sh", root, app]


def is_there(runner: Runner, path: str) -> bool:
    """Whether a folder is there."""
    return runner.run(["test", "-d", path], check=False).status == 0
