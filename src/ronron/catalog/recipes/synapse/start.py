#!/usr/bin/python3
"""The upstream image's command: `start.py [run] [OPTION…]` becomes Synapse, and
`start.py generate` makes a configuration to begin with. SYNAPSE_* variables say
where it is; as root it becomes user 991.
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


def main(arguments: Sequence[str], environment: "os._Environ[str]") -> NoReturn:
    """Become the program that the first argument asks for."""
    mode, *options = arguments or ("run",)
    if mode not in ("run", "generate"):
        sys.exit(f"start.py {mode}: this image knows run and generate")
    data = environment.get("SYNAPSE_DATA_DIR", "/data")
    folder = environment.get("SYNAPSE_CONFIG_DIR", "/data")
    path = environment.get("SYNAPSE_CONFIG_PATH", f"{folder}/homeserver.yaml")
    if mode == "generate":
        for name in ("SYNAPSE_SERVER_NAME", "SYNAPSE_REPORT_STATS"):
            if name not in environment:
                sys.exit(f"start.py generate: the variable {name} is not set")
        options = [
            "-m", "synapse.app.homeserver", "--generate-config", "--open-private-ports",
            "--server-name", environment["SYNAPSE_SERVER_NAME"],
            "--report-stats", environment["SYNAPSE_REPORT_STATS"],
            "--config-path", path, "--config-directory", folder, "--data-directory", data,
        ]  # fmt: skip
    else:
        if "-m" not in options:
            worker = environment.get("SYNAPSE_WORKER", "synapse.app.homeserver")
            options = ["-m", worker, *options]
        if not any(option.startswith(("--config-path", "-c")) for option in options):
            if not Path(path).exists():
                sys.exit(f"start.py: {path} is not there: make one with `generate`")
            options += ["--config-path", path]
        allocator = f"/usr/lib/{platform.machine()}-linux-gnu/libjemalloc.so.2"
        if Path(allocator).exists():
            environment["LD_PRELOAD"] = allocator
    if os.getuid() == 0:
        user, group = int(environment.get("UID", "991")), int(environment.get("GID", "991"))
        if mode == "generate":
            os.chown(data, user, group)
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    os.execve(sys.executable, [sys.executable, *options], environment)  # noqa: S606 - an argument list


main(sys.argv[1:], os.environ)
