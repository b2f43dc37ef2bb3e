"""A service's keys: what a swarm has under another name, what it has not, what is refused.

What `docker stack deploy` takes and ignores is in the Docker CLI (`cli/compose/types`,
`UnsupportedProperties` and `ForbiddenProperties`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ronron.catalog.interpolate import Step
from ronron.catalog.plain import env_file
from ronron.catalog.plain.reading import Reading, listing, pairs, scalar_text
from ronron.errors import SiteError

_KEPT = {
    "cap_add", "cap_drop", "command", "configs", "deploy", "dns", "dns_search", "entrypoint",
    "environment", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels", "logging",
    "networks", "ports", "read_only", "secrets", "stdin_open", "stop_grace_period", "stop_signal",
    "sysctls", "tmpfs", "tty", "ulimits", "user", "volumes", "working_dir",
    # Read elsewhere, and gone afterwards.
    "container_name", "depends_on", "expose", "links", "shm_size",
}  # fmt: skip

_REFUSED = {
    "device_cgroup_rules": "services of a swarm get no devices",
    "device_read_bps": "a swarm does not limit devices",
    "devices": "services of a swarm get no devices",
    "extends": "other files are not read",
    "external_links": "containers outside the stack cannot be linked",
    "gpus": "services of a swarm get no devices",
    "models": "models are not carried over",
    "post_start": "hooks are not carried over",
    "pre_stop": "hooks are not carried over",
    "provider": "providers are not carried over",
    "runtime": "other runtimes are not carried over",
    "use_api_socket": "no app gets the Docker socket",
    "volumes_from": "volumes of other containers cannot be taken",
}
_REMEDIES = {
    "extends": "write it out: docker compose config > flat.yml",
    "external_links": "put the other service in this file",
    "post_start": "do it in the image's entrypoint",
    "pre_stop": "do it in the image's entrypoint",
    "use_api_socket": "remove it",
    "volumes_from": "mount the same named volume in both services",
}
_DROPPED = {
    "annotations", "attach", "blkio_config", "build", "cgroup", "cgroup_parent", "cpu_count",
    "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
    "cpuset", "credential_spec", "develop", "domainname", "group_add", "ipc", "isolation",
    "label_file", "mac_address", "mem_swappiness", "memswap_limit", "oom_kill_disable",
    "oom_score_adj", "pid", "platform", "privileged", "pull_policy", "pull_refresh_after",
    "security_opt", "storage_opt", "userns_mode", "uts",
}  # fmt: skip
"""Keys without a counterpart in a swarm, which the app can do without."""

_CONSTRAINT = re.compile(r"\s*node\.(labels|hostname|id|ip)\b")
_ENGINE_LABELS = re.compile(r"\s*engine\.labels\b")


def translate(reading: Reading, service: str, body: dict[str, Any]) -> None:
    """Rewrite the keys of one service in place; mounts, ports and networks are done elsewhere."""
    steps = ("services", service)
    for key in [key for key in body if str(key).startswith("x-") or body[key] is None]:
        del body[key]
    _isolation(reading, service, body)
    for key in list(body):
        if key in _REFUSED:
            remedy = _REMEDIES.get(key, "remove it")
            reading.refuse((*steps, key), f"{service}: {_REFUSED[key]}", remedy)
            del body[key]
        elif key not in _KEPT | _DROPPED | set(_MOVES):
            remedy = "correct the key, or remove it"
            reading.refuse((*steps, key), f"{key} is not a key of Compose services", remedy)
            del body[key]
    for key, move in _MOVES.items():
        if key in body:
            move(reading, service, body, (*steps, key))
    _text(body)
    _environment(reading, service, body)
    _image(reading, service, body)
    _deploy(reading, service, body)
    _healthcheck(reading, service, body)
    for key in [key for key in body if key in _DROPPED]:
        if body.pop(key) not in (False, [], {}, ""):
            reading.note((*steps, key), f"{service}: {key} is left out: a swarm has no such thing")
    if body.pop("depends_on", None):
        text = f"{service}: depends_on is left out: a swarm starts all and restarts what fails"
        reading.note((*steps, "depends_on"), text)


def _text(body: dict[str, Any]) -> None:
    """Write as text what Docker wants as text and Compose files often hold as numbers."""
    for key in ("domainname", "hostname", "image", "stop_signal", "user", "working_dir"):
        if key in body:
            body[key] = scalar_text(body[key])
    for key in ("command", "entrypoint"):
        if isinstance(body.get(key), list):
            body[key] = [scalar_text(word) for word in body[key]]
        elif key in body:
            body[key] = scalar_text(body[key])
    check = body.get("healthcheck") or {}
    for holder, key in [
        (body, "stop_grace_period"),
        *((check, key) for key in ("interval", "timeout", "start_period")),
    ]:
        if isinstance(holder.get(key), (int, float)):
            holder[key] = f"{holder[key]}s"
    for kind in ("labels", "sysctls"):
        if isinstance(body.get(kind), dict):
            body[kind] = {key: scalar_text(value) for key, value in body[kind].items()}
    options = (body.get("logging") or {}).get("options")
    if isinstance(options, dict):
        body["logging"]["options"] = {key: scalar_text(value) for key, value in options.items()}
    deploy = body.get("deploy") or {}
    if isinstance(deploy.get("labels"), dict):
        deploy["labels"] = {key: scalar_text(value) for key, value in deploy["labels"].items()}
    for part in (deploy.get("resources") or {}).values():
        for key in ("cpus", "memory"):
            if isinstance(part, dict) and key in part:
                part[key] = scalar_text(part[key])


def profiles(reading: Reading, services: dict[str, Any]) -> dict[str, Any]:
    """Return the services that start: those without a profile, or with one that is asked for."""
    wanted = set(re.split(r"[,\s]+", reading.variables.get("COMPOSE_PROFILES", ""))) - {""}
    kept = {}
    for name, body in services.items():
        steps = ("services", name, "profiles")
        mine = {reading.value(item, steps) for item in listing(body.pop("profiles", None))}
        if not mine or mine & wanted or "*" in wanted:
            kept[name] = body
        else:
            text = f"{name}: left out: it starts with profile {', '.join(sorted(mine))} only"
            reading.note(steps, text)
    return kept


def run_once(reading: Reading, services: Mapping[str, Any]) -> None:
    """Let services that others wait for until they are done end when they are done."""
    for other, body in services.items():
        conditions = body.get("depends_on")
        for name, raw in (conditions if isinstance(conditions, Mapping) else {}).items():
            condition = raw.get("condition") if isinstance(raw, Mapping) else None
            target = services.get(name)
            if condition != "service_completed_successfully" or target is None:
                continue
            target["deploy"] = deploy = target.get("deploy") or {}
            if not deploy.get("restart_policy"):
                deploy["restart_policy"] = {"condition": "on-failure"}
                steps = ("services", other, "depends_on", name)
                reading.note(steps, f"{name}: runs once, again only when it fails")


def _isolation(reading: Reading, service: str, body: dict[str, Any]) -> None:
    """Refuse what takes the container out of its isolation."""
    steps = ("services", service)
    if reading.flag(body.get("privileged"), (*steps, "privileged")):
        remedy = "remove it: add the capabilities that it needs with cap_add"
        reading.refuse((*steps, "privileged"), f"{service}: privileged is not carried over", remedy)
    for key in ("network_mode", "net"):
        mode = reading.value(body.pop(key, None), (*steps, key))
        if mode == "host":
            remedy = "publish its ports with ports: instead"
            reading.refuse((*steps, key), f"{service}: the server's own network", remedy)
        elif mode not in ("", "bridge", "default"):
            remedy = "put both services on one network, which has each by name"
            reading.refuse((*steps, key), f"{service}: network_mode {mode}", remedy)
        elif mode:
            reading.note((*steps, key), f"{service}: {key} {mode} became the app's own network")
    for key in ("pid", "ipc", "uts", "userns_mode", "cgroup"):
        mode = reading.value(body.get(key), (*steps, key))
        if mode not in ("", "private", "shareable", "none"):
            message = f"{service}: {key}: {mode} shares the server's, or another container's"
            reading.refuse((*steps, key), message, "remove it")
            del body[key]


def _environment(reading: Reading, service: str, body: dict[str, Any]) -> None:
    steps = ("services", service, "environment")
    values: dict[str, object] = {}
    where: tuple[Step, ...]
    for i, raw in enumerate(listing(body.pop("env_file", None))):
        where = ("services", service, "env_file", i)
        path = raw.get("path") if isinstance(raw, Mapping) else raw
        required = not isinstance(raw, Mapping) or raw.get("required") is not False
        name = reading.value(path, where)
        if not required and not (reading.folder / name).is_file():
            continue
        full = reading.needs(name, where)
        if full is None or not full.is_file():
            continue
        try:
            content = env_file.parse(full.read_text("utf-8"), name, reading.variables)
        except SiteError as error:
            reading.refuse(where, str(error.problems[0]), error.problems[0].remedy)
            continue
        values |= {key: value.replace("$", "$$") for key, value in content.items()}
        reading.note(where, f"{service}: the {len(content)} variables of {name} are written out")
    for key, value in pairs(body.pop("environment", None)).items():
        if value is not None:
            values[key] = scalar_text(value)
        elif key in reading.variables:
            values[key] = f"${{{key}}}"
        else:
            where = (*steps, key) if (*steps, key) in reading.document.lines else steps
            text = f"{service}: {key} has no value, here or in .env: left out"
            reading.note(where, text)
    if values:
        body["environment"] = values


def _image(reading: Reading, service: str, body: dict[str, Any]) -> None:
    steps: tuple[Step, ...] = ("services", service)
    build = body.pop("build", None)
    if build is None:
        if "image" not in body:
            reading.refuse(steps, f"{service} has no image", "name one: image: NAME:TAG")
        return
    steps = (*steps, "build")
    if "image" in body:
        reading.note(steps, f"{service}: build is left out: the image is pulled")
        return
    remedy = f"build and push it, then name it: image: REGISTRY/{service}:TAG"
    reading.refuse(steps, f"{service} is built here, and has no image", remedy)


def _deploy(reading: Reading, service: str, body: dict[str, Any]) -> None:
    steps = ("services", service, "deploy")
    deploy = body.get("deploy")
    if not deploy:
        body.pop("deploy", None)
        return
    for key in [key for key in deploy if key.startswith("x-") or deploy[key] is None]:
        del deploy[key]
    if deploy.pop("endpoint_mode", "dnsrr") != "dnsrr":
        text = f"{service}: endpoint_mode is dnsrr here, for every app"
        reading.note((*steps, "endpoint_mode"), text)
    where: tuple[Step, ...]
    placement = deploy.get("placement") or {}
    kept = []
    for i, raw in enumerate(listing(placement.get("constraints"))):
        where = (*steps, "placement", "constraints", i)
        text = reading.value(raw, where)
        if _CONSTRAINT.match(text) or _ENGINE_LABELS.match(text):
            reading.note(where, f"{service}: the constraint {text.strip()} is left out: ronron "
                         "places services by their volumes")  # fmt: skip
        else:
            kept.append(raw)
    if "constraints" in placement:
        placement["constraints"] = kept
        if not kept:
            del placement["constraints"]
    if "placement" in deploy and not placement:
        del deploy["placement"]
    reservations = (deploy.get("resources") or {}).get("reservations") or {}
    for key in ("devices", "generic_resources"):
        if reservations.get(key):
            where = (*steps, "resources", "reservations", key)
            reading.refuse(where, f"{service}: services of a swarm get no devices", "remove it")
    if not deploy:
        del body["deploy"]


def _healthcheck(reading: Reading, service: str, body: dict[str, Any]) -> None:
    check = body.get("healthcheck")
    steps = ("services", service, "healthcheck")
    if isinstance(check, dict):
        for key in [key for key in check if key.startswith("x-") or check[key] is None]:
            del check[key]
        off = check.get("test") in ("NONE", ["NONE"])
        if off or reading.flag(check.get("disable"), (*steps, "disable")):
            body["healthcheck"] = {"disable": True}
        if body["healthcheck"].get("disable"):
            text = f"{service}: its health check is off: nobody will notice when it hangs"
            reading.note(steps, text)
    elif check is None:
        reading.note(("services", service), f"{service}: no health check of its own in the file")
    limits = ((body.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    if not limits.get("memory"):
        text = f"{service}: no memory limit (give one: limits: {{{service}: {{memory: 512M}}}})"
        reading.note(("services", service), text)


def _resources(body: dict[str, Any], kind: str) -> dict[str, Any]:
    deploy: dict[str, Any] = body.setdefault("deploy", {})
    resources: dict[str, Any] = deploy.setdefault("resources", {})
    found: dict[str, Any] = resources.setdefault(kind, {})
    return found


def _resource(kind: str, target: str) -> Any:  # noqa: ANN401 - a function of _MOVES
    def move(reading: Reading, service: str, body: dict[str, Any], steps: tuple[Step, ...]) -> None:
        raw = body.pop(str(steps[-1]))
        if reading.value(raw, steps) in ("", "0", "-1"):
            return
        _resources(body, kind).setdefault(target, raw if target == "pids" else scalar_text(raw))
        reading.note(steps, f"{service}: {steps[-1]} became deploy.resources.{kind}.{target}")

    return move


def _cpu_quota(
    reading: Reading, service: str, body: dict[str, Any], steps: tuple[Step, ...]
) -> None:
    quota = reading.value(body.pop("cpu_quota"), steps)
    period = reading.value(body.pop("cpu_period", None), steps) or "100000"
    if quota.isdigit() and period.isdigit() and int(period) and int(quota):
        _resources(body, "limits").setdefault("cpus", f"{int(quota) / int(period):g}")
        reading.note(steps, f"{service}: cpu_quota became deploy.resources.limits.cpus")


def _restart(reading: Reading, service: str, body: dict[str, Any], steps: tuple[Step, ...]) -> None:
    name, _, attempts = reading.value(body.pop("restart"), steps).partition(":")
    policy = {"no": "none", "false": "none", "on-failure": "on-failure"}.get(name)
    deploy = body.setdefault("deploy", {})
    if policy and "restart_policy" not in deploy:
        deploy["restart_policy"] = {"condition": policy}
        if attempts.isdigit():
            deploy["restart_policy"]["max_attempts"] = int(attempts)
        reading.note(steps, f"{service}: restart {name} became deploy.restart_policy {policy}")
    elif not policy and name not in ("", "always", "unless-stopped", "any"):
        reading.refuse(steps, f"restart: {name} is not known", "write always, on-failure or no")


def _scale(reading: Reading, service: str, body: dict[str, Any], steps: tuple[Step, ...]) -> None:
    raw = body.pop("scale")
    body.setdefault("deploy", {}).setdefault("replicas", raw)
    reading.note(steps, f"{service}: scale became deploy.replicas")


def _logging(reading: Reading, service: str, body: dict[str, Any], steps: tuple[Step, ...]) -> None:
    driver, options = body.pop("log_driver", None), body.pop("log_opt", None)
    entry = {"driver": driver} if driver else {}
    body.setdefault("logging", {**entry, **({"options": options} if options else {})})
    reading.note(steps, f"{service}: {steps[-1]} became logging")


def _env_file(reading: Reading, service: str, body: dict[str, Any], steps: Any) -> None:  # noqa: ANN401
    """Read with the environment."""


_MOVES = {
    "cpu_quota": _cpu_quota,
    "cpus": _resource("limits", "cpus"),
    "env_file": _env_file,
    "log_driver": _logging,
    "log_opt": _logging,
    "mem_limit": _resource("limits", "memory"),
    "mem_reservation": _resource("reservations", "memory"),
    "pids_limit": _resource("limits", "pids"),
    "restart": _restart,
    "scale": _scale,
}
