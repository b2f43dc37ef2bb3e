"""Runs on a server, for `apply`: installs what is carried. Called as `python3 - `-like: `-c` with
this text, a command, and its arguments; it stands alone: Python 3.9 and its standard library.

Commands: `program DIGEST VERSION` (a tar file on standard input), `site DIGEST` (likewise), `keys
SITE` (prints the public keys as JSON), `units` (JSON on standard input), `authorize USER MARK` (the
line of `authorized_keys` on standard input, or nothing), `off` (removes everything but the keys'
use elsewhere).
"""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROGRAMS = "/opt/ronron"
CURRENT = PROGRAMS + "/current"
STATE = "/var/lib/ronron"
SITE = STATE + "/site"
KEY = STATE + "/ssh/id_ed25519"
IDENTITY = STATE + "/identity"
LAUNCHER = "/usr/local/bin/ronron"
UNITS = "/etc/systemd/system"
LEAST_FREE = 400 << 20

LAUNCH = f"""\
#!/bin/sh
# Written by ronron apply: ronron with this server's copy of the site and keys of its own.
RONRON_SITE=$(readlink -f {SITE}) RONRON_KEY_FILE={IDENTITY} RONRON_SSH_KEY={KEY}
RONRON_HERE=manager XDG_STATE_HOME={STATE}/state
export RONRON_SITE RONRON_KEY_FILE RONRON_SSH_KEY RONRON_HERE XDG_STATE_HOME
exec {CURRENT}/bin/ronron "$@"
"""


def _write(path: str, content: str, mode: int) -> None:
    handle, new = tempfile.mkstemp(dir=str(Path(path).parent), prefix=".ronron-")
    with os.fdopen(handle, "w") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    Path(new).replace(path)


def _switch(link: str, target: str) -> str:
    """Make `link` point to `target` at once; returns where it pointed."""
    before = os.readlink(link) if Path(link).is_symlink() else ""  # noqa: PTH115
    new = Path(link + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    return before


def _prune(folder: str, keep: set[str]) -> None:
    for path in Path(folder).iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in keep:
            shutil.rmtree(str(path), ignore_errors=True)


def _unpack(folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as archive:
        archive.extractall(str(folder))  # noqa: S202 - ronron made it


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        sys.exit(done.returncode)


def program(digest: str, version: str) -> None:
    """Install a program beside the one that is there, and switch to it."""
    os.umask(0o022)
    place = Path(PROGRAMS) / digest
    Path(PROGRAMS).mkdir(mode=0o755, exist_ok=True)
    if shutil.disk_usage(PROGRAMS).free < LEAST_FREE:
        need = LEAST_FREE >> 20
        sys.exit(f"{PROGRAMS}: too little disk for ronron: free at least {need} MiB")
    shutil.rmtree(str(place), ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=PROGRAMS) as work:
        _unpack(Path(work))
        _run(sys.executable, "-m", "venv", str(place))
        pip = [str(place / "bin/pip"), "--isolated", "--disable-pip-version-check", "install"]
        pip += ["--quiet", "--no-index", "--no-cache-dir", "--root-user-action=ignore"]
        lock = ("--find-links", work + "/wheels", "--require-hashes", "-r")
        _run(*pip, "--no-deps", *lock, work + "/requirements.lock")
        _run(*pip, "--no-deps", *map(str, Path(work).glob("ronron-*.whl")))
    (place / "VERSION").write_text(version)
    before = _switch(CURRENT, digest)
    _prune(PROGRAMS, {digest, before})
    _write(LAUNCHER, LAUNCH, 0o755)


def keys(site: str) -> None:
    """Make the manager's own keys unless they are there, and print the public ones."""
    os.umask(0o077)
    Path(KEY).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not Path(KEY).exists():
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", KEY)
    make = "import sys, pathlib; from ronron.site.vault import create_key as k; "
    make += "print(k(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [CURRENT + "/bin/python", "-c", make, IDENTITY], stdout=subprocess.PIPE, check=True
    )
    words = Path(KEY + ".pub").read_text().split()
    found = {"ssh_key": " ".join(words[:2]), "recipient": done.stdout.decode().strip()}
    json.dump(found, sys.stdout)


def site(digest: str) -> None:
    """Replace the copy of the site."""
    os.umask(0o077)
    place = Path(STATE) / "sites" / digest
    Path(STATE).mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(str(place), ignore_errors=True)
    place.mkdir(parents=True)
    _unpack(place)
    before = _switch(SITE, "sites/" + digest)
    _prune(STATE + "/sites", {digest, Path(before).name})


def units() -> None:
    """Make the units that begin with `ronron-` those that standard input has by name."""
    wanted = json.load(sys.stdin)
    for path in Path(UNITS).glob("ronron-*"):
        if path.name not in wanted:
            if path.suffix == ".timer":
                subprocess.run(["systemctl", "disable", "--now", path.name], check=False)
            path.unlink()
    for name, text in wanted.items():
        _write(UNITS + "/" + name, text, 0o644)
    _run("systemctl", "daemon-reload")
    timers = [name for name in wanted if name.endswith(".timer")]
    if timers:
        _run("systemctl", "enable", *timers)
        _run("systemctl", "restart", *timers)


def authorize(user: str, mark: str) -> None:
    """Let the key on standard input log in as `user`, instead of others with the same mark."""
    line = sys.stdin.read().strip()
    about = pwd.getpwnam(user)
    folder = Path(about.pw_dir) / ".ssh"
    path = folder / "authorized_keys"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(str(folder), about.pw_uid, about.pw_gid)
    old = path.read_text() if path.exists() else ""
    lines = [one for one in old.splitlines() if not one.endswith(" " + mark)]
    lines += [line] if line else []
    _write(str(path), "".join(one + "\n" for one in lines), 0o600)
    os.chown(str(path), about.pw_uid, about.pw_gid)


def off() -> None:
    """Remove ronron: another server is the manager."""
    for path in Path(UNITS).glob("ronron-*"):
        if path.suffix == ".timer":
            subprocess.run(["systemctl", "disable", "--now", path.name], check=False)
        path.unlink()
    _run("systemctl", "daemon-reload")
    Path(LAUNCHER).unlink(missing_ok=True)
    for folder in (PROGRAMS, STATE):
        shutil.rmtree(folder, ignore_errors=True)


COMMANDS = {f.__name__: f for f in (program, keys, site, units, authorize, off)}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
