"""The runner that reaches a server through this computer's own OpenSSH client.

OpenSSH is used as it is installed, so that the operator's configuration, agent, jump hosts and
hardware keys work. One master connection per server is kept open and shared by all commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ronron.errors import RonronError, ServerError
from ronron.servers import process
from ronron.servers.bridge import bridge
from ronron.servers.names import lookup
from ronron.servers.refusals import Attempt, CannotConnect, explain, was_dropped
from ronron.servers.runner import Completed

CONNECT_SECONDS = 10
SESSIONS = 8
"""How many commands run at once over one connection. OpenSSH's server takes ten (MaxSessions);
the rest is for streams and shells. One more would connect anew, and of many new connections at
once the server drops some (MaxStartups)."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each further attempt, where a server ended the connection before it said who it
is. sshd does so with some of them, by chance, while others connect and do not log in
(MaxStartups in sshd_config(5)); a firewall that refuses does it otherwise."""

IDLE_SECONDS = 600
"""A master whose ronron was killed ends by itself after this long without a command."""

WRITE_WHOLE = """\
set -e
[ -z "$4" ] || install -d -m "$4" -- "${1%/*}"
new=$(mktemp -- "$1.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat > "$new"
[ "$(stat -c %s -- "$new")" = "$3" ]
chmod -- "$2" "$new"
mv -fT -- "$new" "$1"
"""
"""Writes standard input to file $1 with mode $2 if it is $3 bytes long (a lost connection looks
like an end of file), in a folder of mode $4 where there is one."""


class Reached(Protocol):
    """What a runner needs to know of a server; `site.models.Server` is one."""

    @property
    def name(self) -> str:
        """The name that its host key is pinned to."""
        ...

    @property
    def address(self) -> str:
        """DNS name or IP address."""
        ...

    @property
    def user(self) -> str:
        """Whom to log in as."""
        ...

    @property
    def port(self) -> int:
        """SSH port."""
        ...


class SshRunner:
    """A `Runner` over SSH: connects at the first command, and again after a lost connection.

    `known_hosts` has the server's pinned key. `control` is a private folder for sockets. With a
    `resolver` (IP or IP:port) the address is looked up there; `key` is the private key's file.
    Commands run as root: through `sudo -n` when the server's user is another.
    """

    def __init__(
        self,
        server: Reached,
        known_hosts: Path,
        control: Path,
        *,
        resolver: str | None = None,
        key: Path | None = None,
    ) -> None:
        self.name = server.name
        self.server = server
        self.known_hosts = known_hosts
        self.resolver = resolver
        self.key = key
        self._control = control
        self._socket = control / hashlib.sha256(server.name.encode()).hexdigest()[:8]
        self._opening = threading.Lock()
        self._sessions = threading.BoundedSemaphore(SESSIONS)
        self._failure: CannotConnect | None = None
        self._failed_at = 0.0
        self._ip = ""

    @property
    def is_root(self) -> bool:
        """Whether the server's user is root, so that no sudo is needed."""
        return self.server.user == "root"

    def open(self) -> None:
        """Connect, unless connected. Raises CannotConnect with the reason.

        An attempt that fails while others wait for it counts for them too.
        """
        asked = time.monotonic()
        with self._opening:
            if self._socket.exists():
                return
            if self._failure and self._failed_at > asked:
                raise self._failure
            try:
                self._connect()
            except CannotConnect as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._socket.exists():
            self._tell_master("exit")

    def ssh(self, *options: str) -> list[str]:
        """The local argv of an ssh that uses the open connection, up to the remote command.

        Valid after `open`. When the connection was lost it makes one of its own, pinned alike.
        """
        return [
            *("ssh", "-o", "ControlMaster=no"),
            *self._options(),
            *options,
            *("--", self.server.address),
        ]

    def remote(self, argv: Sequence[str]) -> str:
        """The command line for the server's shell that runs `argv` as root, all words quoted."""
        return shlex.join(argv if self.is_root else ("sudo", "-n", "--", *argv))

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 600.0,
    ) -> Completed:
        """See `Runner.run`. When the time is over the command is ended on the server too."""
        self.open()
        guarded = ("timeout", "--kill-after=5", f"{timeout:.0f}", *argv)
        local = [*self.ssh("-T"), self.remote(guarded)]
        with self._sessions:
            done = process.run(self.name, local, argv, stdin=stdin, timeout=timeout + 10)
        self._connection_held(done.status, done.stderr)
        if done.status == 124 and check:
            lines = process.last_lines(done.stderr or done.stdout)
            raise ServerError(
                self.name, f"{argv[0]} was not done after {timeout:.0f} s", details=lines
            )
        return process.checked(self.name, done) if check else done

    def stream(self, argv: Sequence[str]) -> Iterator[str]:
        """See `Runner.stream`. Raises ServerError when the exit status is not 0."""
        self.open()
        return process.stream(self.name, [*self.ssh("-T"), self.remote(argv)], argv)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See `Runner.start`."""
        self.open()
        pipe = subprocess.PIPE
        words = [*self.ssh("-T"), self.remote(argv)]
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)

    def put(
        self, path: str, content: bytes, *, mode: int = 0o644, folder: int | None = None
    ) -> None:
        """See `Runner.put`: through a temporary file beside it, renamed once it is whole."""
        above = "" if folder is None else f"{folder:o}"
        words = ("sh", "-c", WRITE_WHOLE, "sh", path, f"{mode:o}", str(len(content)), above)
        done = self.run(words, stdin=content, check=False)
        if done.status:
            raise ServerError(
                self.name, f"{path} was not written", details=process.last_lines(done.stderr)
            )

    def interactive(self, argv: Sequence[str]) -> int:
        """See `Runner.interactive`: with a terminal there when there is one here."""
        self.open()
        terminal = "-t" if sys.stdin.isatty() else "-T"
        local = [*self.ssh(terminal, "-o", "LogLevel=QUIET"), self.remote(argv)]
        return subprocess.run(local, check=False).returncode

    def socket(self, path: str) -> AbstractContextManager[Path]:
        """See `Runner.socket`.

        Root's sockets are forwarded by OpenSSH itself; for another user, who could not open
        them, each connection is carried by a `sudo` of its own.
        """
        return self._forwarded(path) if self.is_root else self._bridged(path)

    @contextmanager
    def _forwarded(self, path: str) -> Iterator[Path]:
        self.open()
        folder = Path(tempfile.mkdtemp(prefix="s", dir=self._control))
        local = folder / "s"
        forward = f"{local}:{path}"
        try:
            self._tell_master("forward", "-L", forward, check=True)
            yield local
        finally:
            self._tell_master("cancel", "-L", forward)
            with contextlib.suppress(FileNotFoundError):
                local.unlink()
            folder.rmdir()

    @contextmanager
    def _bridged(self, path: str) -> Iterator[Path]:
        from ronron.servers.bridge import TO_SOCKET

        self.open()
        folder = Path(tempfile.mkdtemp(prefix="s", dir=self._control))
        local = [*self.ssh("-T"), self.remote(("python3", "-c", TO_SOCKET, path))]
        try:
            with bridge(folder / "s", local):
                yield folder / "s"
        finally:
            folder.rmdir()

    def _connect(self) -> None:
        try:
            self._ip = lookup(self.server.address, self.resolver) if self.resolver else ""
        except RonronError as error:
            raise CannotConnect(self.name, error.message, remedy=error.remedy) from error
        status, stderr = self._start_master()
        for pause in PAUSES:
            if not status or not was_dropped(stderr):
                break
            time.sleep(pause)
            status, stderr = self._start_master()
        if status:
            raise explain(self._attempt(), stderr)

    def _start_master(self) -> tuple[int, str]:
        """Connect once; returns ssh's status, 255 also when it takes too long, and its errors."""
        argv = [
            *("ssh", "-M", "-N", "-f", "-o", f"ControlPersist={IDLE_SECONDS}"),
            *("-o", "ClearAllForwardings=yes"),
            *self._options(),
            *("--", self.server.address),
        ]
        # A file, not a pipe: the master stays behind and would hold a pipe open.
        with tempfile.TemporaryFile() as errors:
            try:
                done = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=CONNECT_SECONDS * 3,
                    check=False,
                )
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = 255
            except FileNotFoundError as error:
                raise CannotConnect(
                    self.name,
                    "there is no ssh on this computer",
                    remedy="install the OpenSSH client",
                ) from error
            errors.seek(0)
            return status, errors.read().decode(errors="replace")

    def _attempt(self) -> Attempt:
        return Attempt(
            server=self.name,
            address=self.server.address,
            ip=self._ip,
            port=self.server.port,
            user=self.server.user,
            known_hosts=self.known_hosts,
            key=self.key,
        )

    def _options(self) -> list[str]:
        options = {
            "ControlPath": _quoted(self._socket),
            "User": self.server.user,
            "Port": str(self.server.port),
            "HostKeyAlias": self.name,
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(self.known_hosts.absolute()),
            "GlobalKnownHostsFile": "none",
            "KnownHostsCommand": "none",
            "VerifyHostKeyDNS": "no",
            "UpdateHostKeys": "no",
            "CheckHostIP": "no",
            "NoHostAuthenticationForLocalhost": "no",
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "StreamLocalBindUnlink": "yes",
            "LogLevel": "ERROR",
        }
        if self._ip:
            options["HostName"] = self._ip
        if self.key:
            options |= {
                "IdentityFile": _quoted(self.key.absolute()),
                "IdentitiesOnly": "yes",
            }
        return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def _tell_master(self, what: str, *options: str, check: bool = False) -> bool:
        """Give the master an order (`ssh -O`); returns whether it obeyed."""
        argv = self.ssh("-O", what, *options)
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode and check:
            raise ServerError(
                self.name, f"ssh could not {what}", details=process.last_lines(done.stderr)
            )
        return done.returncode == 0

    def _connection_held(self, status: int, stderr: bytes) -> None:
        """Tell a lost connection (ssh ends with 255) from a command that ended with 255."""
        if status == 255 and not self._tell_master("check"):
            with contextlib.suppress(FileNotFoundError):
                self._socket.unlink()
            lines = process.last_lines(stderr)
            raise ServerError(self.name, "the connection was lost", details=lines)


def _quoted(path: Path) -> str:
    """A path as ssh_config wants it: quoted, percent signs doubled."""
    return '"' + str(path).replace("%", "%%") + '"'
