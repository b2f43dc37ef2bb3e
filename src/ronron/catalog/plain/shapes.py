"""The shape that a Compose file must have before its parts are read.

A shape is `TEXT` (a scalar), a list of one shape, a dict of shapes by key (`*` for any key, keys
that are not named are not looked at), or a tuple of alternatives. Nothing at all is always
allowed, except where a dict's key ends in `!`.
"""

from __future__ import annotations

from typing import Any

from ronron.catalog.interpolate import Step
from ronron.catalog.plain.reading import Reading

TEXT = "TEXT"


def _each(names: str, shape: Any) -> dict[str, Any]:  # noqa: ANN401 - any shape
    return dict.fromkeys(names.split(), shape)


_WORDS = (TEXT, [TEXT])
_PAIRS = ({"*": TEXT}, [TEXT])
_REFERENCES = [(TEXT, {"source!": TEXT, **_each("target uid gid mode", TEXT)})]
_MOUNT = {
    **_each("type source src target dst destination read_only readonly", TEXT),
    "volume": {"nocopy": TEXT, "subpath": TEXT},
    "tmpfs": {"size": TEXT},
}
_UPDATE = _each("parallelism delay order failure_action monitor max_failure_ratio", TEXT)
_DEPLOY = {
    "mode": TEXT,
    "replicas": TEXT,
    "endpoint_mode": TEXT,
    "labels": _PAIRS,
    "placement": {
        "constraints": [TEXT],
        "preferences": [{"spread": TEXT}],
        "max_replicas_per_node": TEXT,
    },
    "resources": {
        "limits": {"cpus": TEXT, "memory": TEXT, "pids": TEXT},
        "reservations": {"cpus": TEXT, "memory": TEXT},
    },
    "restart_policy": _each("condition delay max_attempts window", TEXT),
    "update_config": _UPDATE,
    "rollback_config": _UPDATE,
}
_SERVICE: dict[str, Any] = {
    **_each("cgroup container_name cpu_period cpu_quota cpus domainname hostname image init", TEXT),
    **_each("ipc log_driver mem_limit mem_reservation net network_mode pid pids_limit", TEXT),
    **_each("privileged read_only restart scale shm_size stdin_open stop_grace_period", TEXT),
    **_each("stop_signal tty user userns_mode uts working_dir", TEXT),
    **_each("cap_add cap_drop expose links profiles", [TEXT]),
    **_each("command dns dns_search entrypoint tmpfs", _WORDS),
    **_each("environment extra_hosts labels sysctls", _PAIRS),
    "build": (TEXT, {}),
    "configs": _REFERENCES,
    "depends_on": ([TEXT], {"*": {}}),
    "deploy": _DEPLOY,
    "env_file": (TEXT, [(TEXT, {"path!": TEXT, "required": TEXT})]),
    "healthcheck": {
        "test": _WORDS,
        **_each("interval timeout retries start_period start_interval disable", TEXT),
    },
    "log_opt": {"*": TEXT},
    "logging": {"driver": TEXT, "options": {"*": TEXT}},
    "networks": ([TEXT], {"*": {"aliases": [TEXT]}}),
    "ports": [
        (
            TEXT,
            {"target!": TEXT, "published": TEXT, "protocol": TEXT, "mode": TEXT, "host_ip": TEXT},
        )
    ],
    "secrets": _REFERENCES,
    "ulimits": {"*": (TEXT, {"soft!": TEXT, "hard!": TEXT})},
    "volumes": [(TEXT, _MOUNT)],
}
_OBJECT = {"file": TEXT, "content": TEXT, "environment": TEXT, "external": (TEXT, {"name": TEXT})}
FILE: dict[str, Any] = {
    "services!": {"*!": _SERVICE},
    "configs": {"*": {**_OBJECT, "template_driver": TEXT}},
    "secrets": {"*": _OBJECT},
    "networks": {
        "*": {
            "driver": TEXT,
            "driver_opts": {"*": TEXT},
            "external": (TEXT, {"name": TEXT}),
            "internal": TEXT,
            "attachable": TEXT,
            "name": TEXT,
            "labels": _PAIRS,
        }
    },
    "volumes": {
        "*": {
            "driver": TEXT,
            "driver_opts": {"*": TEXT},
            "external": (TEXT, {"name": TEXT}),
            "name": TEXT,
        }
    },
}


def check(reading: Reading, tree: object) -> None:
    """Refuse every part of the file that has not the shape it must have."""
    _check(reading, tree, FILE, ())


def _check(reading: Reading, node: object, shape: Any, steps: tuple[Step, ...]) -> None:  # noqa: ANN401
    for alternative in shape if isinstance(shape, tuple) else (shape,):
        if _fits(node, alternative):
            break
    else:
        wanted = shape if isinstance(shape, tuple) else (shape,)
        words = " or ".join(dict.fromkeys(_word(alternative) for alternative in wanted))
        name = steps[-1] if steps and isinstance(steps[-1], str) else "this"
        reading.refuse(steps, f"{name} must be {words}", "see the Compose specification")
        return
    if isinstance(alternative, list):
        for i, item in enumerate(node):  # type: ignore[arg-type, var-annotated]
            _check(reading, item, alternative[0], (*steps, i))
    elif isinstance(alternative, dict):
        assert isinstance(node, dict)  # noqa: S101 - it fits
        for key, inner in alternative.items():
            required = key.endswith("!")
            for found in node if key.startswith("*") else [key.removesuffix("!")]:
                if node.get(found) is not None:
                    _check(reading, node[found], inner, (*steps, found))
                elif required:
                    message = f"{found} is missing or empty"
                    reading.refuse((*steps, found), message, "see the Compose specification")


def _fits(node: object, shape: object) -> bool:
    if isinstance(shape, (list, dict)):
        return isinstance(node, type(shape))
    return not isinstance(node, (list, dict)) and node is not None


def _word(shape: object) -> str:
    if isinstance(shape, dict):
        return "a mapping"
    return "a list" if isinstance(shape, list) else "a single value"
