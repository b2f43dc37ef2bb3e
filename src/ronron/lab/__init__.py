"""Disposable servers on this computer, for trying ronron, for its tests, and for drills."""

from ronron.lab.lifecycle import down, find, names, up
from ronron.lab.model import Lab, LabServer
from ronron.lab.use import client, connections, move_server, start_server, stop_server

__all__ = [
    "Lab",
    "LabServer",
    "client",
    "connections",
    "down",
    "find",
    "move_server",
    "names",
    "start_server",
    "stop_server",
    "up",
]
