"""Runs on a server: tries settings that could lock everybody out, and undoes them by itself.

`guard.py try SECONDS` reads a JSON object from standard input, path to text (null: no file). The
files are written and loaded; unless `guard.py confirm` comes within that time, a timer of
systemd's calls `guard.py undo`, which puts back what was there, again and again until it could.
So does the next start of the server. It stands alone: Python 3.9 and its standard library.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Optional

STATE = Path("/var/lib/ronron-guard/before.json")
UNIT = "ronron-undo"
RULES = "/etc/ronron/firewall.nft"
LOADED = "/etc/ronron/firewall.loaded"
TABLE = ("table", "inet", "ronron")
NFT = "/usr/sbin/nft"
NO_RULES = "table inet ronron\ndelete table inet ronron\n"

SSHD = "/usr/sbin/sshd"
ASK_SSHD = (SSHD, "-T", "-C", "user=root,host=a.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22")
KEYS_ALONE = "passwordauthentication no"
UNREAD = (
    "/etc/ssh/sshd_config takes passwords, whatever the files beside it say: let it begin with"
    " Include /etc/ssh/sshd_config.d/*.conf"
)

Files = dict[str, Optional[str]]  # noqa: UP045 - Python 3.9


def run(*argv: str, stdin: str = "") -> None:
    """Run a command; what it says is kept for who asked, and its failure ends the program."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(done.returncode)


def write(path: str, text: Optional[str]) -> None:  # noqa: UP045
    """Write a file whole and on disk, or remove it."""
    place = Path(path)
    if text is None:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(place.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        new.chmod(0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(place)


def read(path: str) -> Optional[str]:  # noqa: UP045
    """A file's text, None where there is no file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def check(files: Files) -> None:
    """End with what is wrong with the new files."""
    if files.get(RULES) is not None:
        run(NFT, "-c", "-f", RULES)
    settings = [text for path, text in files.items() if path.startswith("/etc/ssh/")]
    if settings:
        run(SSHD, "-t")
    if any(KEYS_ALONE in (text or "").lower() for text in settings):
        taken = subprocess.run(ASK_SSHD, capture_output=True, text=True, check=False).stdout
        if KEYS_ALONE not in taken.splitlines():
            raise SystemExit(UNREAD)


def load(files: Files, *options: str) -> None:
    """Make what the files say be so; `options` are for `systemctl`."""
    if RULES in files:
        rules = files[RULES]
        run(NFT, "-f", "-", stdin=NO_RULES if rules is None else rules)
    if any(path.startswith("/etc/ssh/") for path in files):
        # Where a socket starts sshd for each connection, there is nothing to reload.
        run("systemctl", *options, "try-reload-or-restart", "ssh.service")


def attempt(seconds: int) -> None:
    """Write and load the new files; the undoing is set up before."""
    with suppress(SystemExit):  # what was there before may not load any more
        undo()
    disarm()
    new: Files = json.load(sys.stdin)
    before = {path: read(path) for path in new}
    write(str(STATE), json.dumps(before))
    try:
        for path, text in new.items():
            write(path, text)
        check(new)
    except BaseException:
        for path, text in before.items():
            write(path, text)
        STATE.unlink()
        raise
    try:
        run(
            *("systemd-run", "--quiet", "--collect", f"--unit={UNIT}"),
            *(f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"),
            *("--property=Restart=on-failure", "--property=RestartSec=5"),
            *(sys.executable, __file__, "undo"),
        )
        load(new)
    except BaseException:
        undo()
        raise


def disarm() -> None:
    """Take the timer away, and what it started: ends the program where that is this one."""
    units = (f"{UNIT}.timer", f"{UNIT}.service")
    subprocess.run(["systemctl", "stop", *units], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def alone() -> Iterator[None]:
    """While it lasts nothing else is kept or undone: the timer comes when it comes."""
    with STATE.with_name("lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def confirm() -> None:
    """Keep what was tried. Fails where it was undone already."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with alone():
        if not STATE.exists():
            raise SystemExit("it was undone already")
        disarm()
        STATE.unlink()
    listing = subprocess.run([NFT, "-s", "-t", "list", *TABLE], capture_output=True, check=False)
    write(LOADED, listing.stdout.decode())


def undo() -> None:
    """Put back what was there before an attempt that nobody confirmed."""
    if not STATE.exists():
        return
    with alone():
        if not STATE.exists():
            return
        before: Files = json.loads(STATE.read_text(encoding="utf-8"))
        for path, text in before.items():
            write(path, text)
        # At the server's start sshd is started after this: nothing waits for it.
        load(before, "--no-block")
        STATE.unlink()
    disarm()


def main() -> None:
    """See the module."""
    os.umask(0o077)
    what = sys.argv[1]
    if what == "try":
        attempt(int(sys.argv[2]))
    elif what == "confirm":
        confirm()
    elif what == "undo":
        undo()


if __name__ == "__main__":
    main()
