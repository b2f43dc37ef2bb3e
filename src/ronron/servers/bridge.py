"""A local Unix socket whose connections are each carried by a process of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TO_SOCKET = """\
import os, socket, sys, threading
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
def up():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := there.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""
"""Python program for the far end: joins its standard input and output with the socket argv[1]."""


@contextmanager
def bridge(path: Path, argv: Sequence[str]) -> Iterator[None]:
    """Listen on the Unix socket `path`; each connection is joined with a new process `argv`.

    The socket and the processes are gone when the context ends.
    """
    processes: list[subprocess.Popen[bytes]] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near:
                    # A socket is both ends: the process reads and writes the connection itself.
                    processes.append(
                        subprocess.Popen(
                            list(argv),
                            stdin=near.fileno(),
                            stdout=near.fileno(),
                            stderr=subprocess.DEVNULL,
                        )
                    )
                processes[:] = [one for one in processes if one.poll() is None]

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        path.unlink()
        for one in processes:
            one.terminate()
            one.wait()
