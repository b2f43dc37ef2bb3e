"""The process that pyinfra lives in, apart since it patches Python's sockets and threads.

Reads one JSON object on standard input: `apply` (false: only plan) and `servers`, each with its
`declared` and the argv of `ssh`. Writes JSON lines: `steps` (a server's changes, before anything
is done), `event` (a step was started or done) and `failure`.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from dataclasses import asdict  # noqa: E402
from threading import Lock  # noqa: E402
from typing import Any, TextIO  # noqa: E402

from pyinfra.api.config import Config  # noqa: E402
from pyinfra.api.connect import connect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.api.facts import get_fact  # noqa: E402
from pyinfra.api.host import Host  # noqa: E402
from pyinfra.api.inventory import Inventory  # noqa: E402
from pyinfra.api.operations import run_ops  # noqa: E402
from pyinfra.api.state import BaseStateCallback, State  # noqa: E402
from pyinfra.context import ctx_host, ctx_state  # noqa: E402

from ronron.servers.check import lacking, unfit  # noqa: E402
from ronron.servers.process import LAST_LINES  # noqa: E402
from ronron.servers.provision import remap  # noqa: E402
from ronron.servers.provision.connector import OpenSshConnector  # noqa: E402
from ronron.servers.provision.model import (  # noqa: E402
    Action,
    Declared,
    FetchKey,
    File,
    Install,
    MakeFolder,
    Part,
    Pool,
    RegistryAccess,
    Run,
    RunService,
    SetHostName,
    Step,
    StopService,
    WriteFile,
)
from ronron.servers.provision.operations import ServerFacts, add  # noqa: E402
from ronron.servers.provision.steps import query, steps  # noqa: E402
from ronron.servers.storage import pool  # noqa: E402

RESTART_SECONDS = 300
"""How long one server waits at most for another's daemon to restart."""


class Worker(BaseStateCallback):
    """One run: looks at the servers, tells the steps, and carries them out when asked to."""

    def __init__(self, order: dict[str, Any], out: TextIO) -> None:
        self.out = out
        self.declared = {one["declared"]["server"]: _declared(one) for one in order["servers"]}
        self.apply = bool(order["apply"])
        self.state = _state(order["servers"])
        self.state.add_callback_handler(self)  # type: ignore[no-untyped-call]
        self.restarting = Lock()
        self.actions: dict[tuple[Host, str], Action] = {}
        self.began: dict[tuple[Host, str], float] = {}
        self.pending: dict[Host, set[str]] = {}

    def run(self) -> None:
        """Do it all; a server that fails is told of, and stops no other."""
        connect_all(self.state)
        looking = [self.state.pool.spawn(self.prepare, host) for host in self.state.inventory]
        for one in looking:
            one.get()
        if self.apply and any(self.pending.values()):
            try:
                run_ops(self.state, no_wait=True)
            except PyinfraError as error:  # every server failed: each is told of below
                print(error, file=sys.stderr)
            for host, left in self.pending.items():
                if left:
                    self.failed(host, "finish provisioning")

    def prepare(self, host: Host) -> None:
        """Look at one server, tell its steps, and add them to what is to be done."""
        declared = self.declared[host.name]
        with ctx_state.use(self.state), ctx_host.use(host):
            try:
                seen = get_fact(
                    self.state,
                    host,
                    ServerFacts,
                    kwargs={"query": query(declared).json()},
                    apply_failed_hosts=False,
                )
            except ValueError as error:
                host.connector_data["failed"] = (1, [str(error)])
                seen = None
            if seen is None:
                self.failed(host, "facts")
                return
            found = steps(declared, seen)
            faults = unfit(seen, declared.manager, changing=bool(found))
            kernel = lacking(seen, declared.part.modules)
            taken = remap.refused(seen)  # the ranges are looked at only where they are wanted
            if faults := (*faults, *kernel, *taken, *pool.refused(declared.pool, seen)):
                host.connector_data["failed"] = (1, [str(fault) for fault in faults])
                self.failed(host, "unfit")
                return
            self.tell("steps", {"server": host.name, "changes": _changes(found)})
            first = next((one.action for one in found if isinstance(one.action, RunService)), None)
            for step in found if self.apply else ():
                # Units are written before services start: once is enough, and it takes a while.
                add(self.state, host, step.action, reload=step.action is first)
                self.actions[host, host.op_hash_order[-1]] = step.action
            self.pending[host] = set(host.op_hash_order)

    def operation_host_start(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str
    ) -> None:
        """Called by pyinfra, also for operations that other servers have and this one has not."""
        if action := self.actions.get((host, op_hash)):
            if _is_restart(action):  # one server after the other, so that apps stay up
                self.restarting.acquire(timeout=RESTART_SECONDS)
            self.began[host, op_hash] = time.monotonic()
            self.event(host, op_hash, "started")

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        """Called by pyinfra."""
        self.pending[host].discard(op_hash)
        self.event(host, op_hash, "done")

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        """Called by pyinfra."""
        self.event(host, op_hash, "failed")
        self.failed(host, _title(self.actions[host, op_hash]))
        self.pending[host].clear()

    def event(self, host: Host, op_hash: str, state: str) -> None:
        """Tell that a step reached `state`."""
        action = self.actions[host, op_hash]
        spent = None
        if state != "started":
            spent = time.monotonic() - self.began[host, op_hash]
            if _is_restart(action):
                with contextlib.suppress(RuntimeError):
                    self.restarting.release()
        event = {"step": _title(action), "where": host.name, "state": state, "seconds": spent}
        self.tell("event", event)

    def failed(self, host: Host, title: str) -> None:
        """Tell that the step `title` failed, with what the server said last."""
        status, lines = host.connector_data.get("failed", (1, []))
        self.tell(
            "failure",
            {
                "server": host.name,
                "title": title,
                "status": status,
                "lines": [line for line in lines if line.strip()][-LAST_LINES:],
            },
        )

    def tell(self, kind: str, value: dict[str, Any]) -> None:
        """Write one line."""
        self.out.write(json.dumps({kind: value}) + "\n")
        self.out.flush()


def _declared(one: dict[str, Any]) -> Declared:
    data = one["declared"]
    hosts = tuple((address, tuple(names)) for address, names in data["hosts"])
    registry = RegistryAccess(**data["registry"]) if data["registry"] else None
    part = Part(
        packages=tuple(data["part"]["packages"]),
        folders=tuple((path, mode) for path, mode in data["part"]["folders"]),
        files=tuple(
            File(**{**file, "then": tuple(file["then"])}) for file in data["part"]["files"]
        ),
        services=tuple(data["part"]["services"]),
        stopped=tuple(data["part"]["stopped"]),
        modules=tuple(data["part"]["modules"]),
    )
    of_pool = data["pool"]
    disks = Pool(**{key: _tuple(value) for key, value in of_pool.items()}) if of_pool else None
    return Declared(**{**data, "hosts": hosts, "registry": registry, "part": part, "pool": disks})


def _tuple(value: Any) -> Any:  # noqa: ANN401
    return tuple(value) if isinstance(value, list) else value


def _state(servers: list[dict[str, Any]]) -> State:
    names = [
        (one["declared"]["server"], {"ssh": one["ssh"], "_sudo": one["sudo"]}) for one in servers
    ]
    inventory = Inventory((names, {}))  # type: ignore[no-untyped-call]
    for host in inventory:
        host.connector_cls = OpenSshConnector
    return State(inventory, Config(), check_for_changes=False)  # type: ignore[no-untyped-call]


def _changes(found: list[Step]) -> list[dict[str, Any]]:
    return [asdict(change) for step in found for change in step.changes]


def _is_restart(action: Action) -> bool:
    return isinstance(action, RunService) and action.restart


def _title(action: Action) -> str:
    match action:
        case SetHostName():
            return "set host name"
        case MakeFolder(path):
            return f"make {path}"
        case WriteFile(path) | FetchKey(_, path):
            return f"write {path}"
        case Install(packages):
            return f"install {' '.join(packages)}"
        case RunService(service, restart):
            return f"{'restart' if restart else 'start'} {service}"
        case StopService(service):
            return f"stop {service}"
        case Run(title):
            return title


def main() -> None:
    """Read the order, and keep standard output for JSON lines alone."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    Worker(json.load(sys.stdin), out).run()


if __name__ == "__main__":
    main()
