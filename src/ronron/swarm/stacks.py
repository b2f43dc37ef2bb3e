"""An app's stack in the swarm: deployed, recorded, rolled back, removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ronron.catalog.routing import PROXY_NETWORK
from ronron.catalog.stack import Config, Stack
from ronron.digest import short_digest
from ronron.errors import OperatorError, RonronError
from ronron.events import Report, step
from ronron.servers.runner import Runner
from ronron.site.secret import redacted
from ronron.site.vault import Secrets
from ronron.swarm import converge, record, state
from ronron.swarm.waiting import until

if TYPE_CHECKING:
    from docker import DockerClient

REMOVE_SECONDS = 120


def deploy_command(app: str) -> list[str]:
    """The command that deploys the stack on its standard input.

    Images are named by tags that never move, so that the registry need not be asked.
    """
    return ["docker", "stack", "deploy", "--prune", "--resolve-image", "never", "-c", "-", app]


def deploy(
    engine: DockerClient,
    manager: Runner,
    stack: Stack,
    secrets: Secrets,
    *,
    about: Mapping[str, Any],
    seconds: float,
    report: Report,
) -> None:
    """Deploy `stack`, wait until its services run, and record it as what was last deployed.

    `about` is kept in the record. Raises NotConverged when the services do not run; the record is
    then still the old one.
    """
    app = stack.app
    with step(report, "services", app):
        supply(engine, app, stack.configs, stack.secrets, secrets)
        put(engine, manager, app, stack.text)
        _wait(engine, app, secrets, seconds, report)
        keep(engine, app, stack.text, stack.digest, about)


def renew(
    engine: DockerClient,
    manager: Runner,
    app: str,
    names: Mapping[str, str],
    secrets: Secrets,
    *,
    seconds: float,
    report: Report,
) -> record.Record:
    """Deploy what was last deployed of `app` again, with other Docker secrets.

    Its record replaces the last one. `names` is as in `supply`; whatever else changed in the site's
    files waits for its own deployment. Raises OperatorError when the app is not deployed,
    NotConverged as `deploy` does.
    """
    newest = deployed(engine, app)
    text = with_secrets(newest.content["stack"], names)
    used = {name: names[name] for name in secrets_of(text) if name in names}
    with step(report, "services", app):
        supply(engine, app, {}, used, secrets)
        put(engine, manager, app, text)
        _wait(engine, app, secrets, seconds, report)
        digest = short_digest(text.encode())
        return keep(engine, app, text, digest, _about(newest), instead_of=newest)


def _wait(engine: DockerClient, app: str, secrets: Secrets, seconds: float, report: Report) -> None:
    """Wait for the services; an app that wrote one of its `secrets` does not give it away."""
    try:
        converge.wait(engine, app, seconds, report)
    except converge.NotConverged as error:
        error.details = tuple(redacted(error.details, secrets.values.values()))
        raise


def deployed(engine: DockerClient, app: str) -> record.Record:
    """What was last deployed of `app`. Raises OperatorError when nothing was."""
    newest = state.observe(engine).newest(app)
    if newest is None:
        raise OperatorError(f"{app} is not deployed", remedy="run ronron apply first")
    return newest


def secrets_of(text: str) -> dict[str, str]:
    """The Docker secrets that a stack's text refers to, by its own names of them."""
    declared = json.loads(text).get("secrets") or {}
    return {name: body["name"] for name, body in declared.items() if body.get("name")}


def with_secrets(text: str, names: Mapping[str, str]) -> str:
    """A stack's text with the Docker secrets in `names` instead of its own of the same names."""
    stack = json.loads(text)
    for name, body in (stack.get("secrets") or {}).items():
        if name in names:
            body["name"] = names[name]
    return json.dumps(stack, sort_keys=True, separators=(",", ":"))


def _about(revision: record.Record) -> dict[str, Any]:
    return {key: it for key, it in revision.content.items() if key not in ("stack", "specs")}


def put(engine: DockerClient, manager: Runner, app: str, text: str) -> None:
    """Hand a stack's text to Docker."""
    api = engine.version()["ApiVersion"]
    manager.run(deploy_command(app), stdin=for_docker(text, api).encode(), timeout=300)


def for_docker(text: str, api: str) -> str:
    """A stack's text as a Docker of that API version reads it.

    Before 25 (API 1.44) Docker knows no `start_interval`, and wants the version of the format.
    """
    if tuple(map(int, api.split("."))) >= (1, 44):
        return text
    stack = json.loads(text)
    for body in stack["services"].values():
        body.get("healthcheck", {}).pop("start_interval", None)
    return json.dumps({"version": "3.8", **stack})


def supply(
    engine: DockerClient,
    app: str,
    configs: Mapping[str, Config],
    names: Mapping[str, str],
    secrets: Secrets,
) -> None:
    """Create the configs and secrets that a stack refers to, unless they are there.

    `names` maps a secret's name in the vault to its Docker secret's.
    """
    labels = {"ronron.app": app}
    there = {item["Spec"]["Name"] for item in engine.api.configs()}
    for name, config in configs.items():
        if name not in there:
            template = {"name": config.template} if config.template else None
            engine.api.create_config(name, config.content, labels, template)
    there = {item["Spec"]["Name"] for item in engine.api.secrets()}
    for name, reference in names.items():
        if reference not in there:
            value = secrets.values[name].reveal().encode()
            engine.api.create_secret(reference, value, labels)


def keep(
    engine: DockerClient,
    app: str,
    text: str,
    digest: str,
    about: Mapping[str, Any],
    *,
    instead_of: record.Record | None = None,
) -> record.Record:
    """Record the stack and what the swarm made of it; forget what no kept revision needs.

    The record takes the place of `instead_of`, which is not a revision to go back to.
    """
    now = state.observe(engine)
    newest = now.newest(app)
    made = record.make(
        app,
        newest.revision + 1 if newest else 1,
        stack=text,
        stack_digest=digest,
        specs=now.services.get(app, {}),
        about=about,
    )
    if newest and (newest.stack_digest, newest.specs_digest) == (digest, made.specs_digest):
        _forget(engine, app, now.records[app])
        return newest
    engine.api.create_config(made.name, made.data, made.labels)
    others = [item for item in now.records.get(app, ()) if item != instead_of]
    kept = (*others, made)[-record.KEPT :]
    _forget(engine, app, kept)
    return made


def _forget(
    engine: DockerClient,
    app: str,
    kept: Sequence[record.Record],
) -> None:
    """Remove records, configs and secrets of an app that none of the `kept` records names.

    Of a secret only the newest value is kept: an older revision comes back with that.
    """
    from docker.errors import APIError

    names = {item.name for item in kept}
    secrets: dict[str, str] = {}
    for revision in kept:
        text = revision.content["stack"]
        names |= {body.get("name") for body in (json.loads(text).get("configs") or {}).values()}
        secrets |= secrets_of(text)
    names |= set(secrets.values())
    filters = {"label": f"ronron.app={app}"}
    listings = (
        (engine.api.configs(filters=filters), engine.api.remove_config),
        (engine.api.secrets(filters=filters), engine.api.remove_secret),
    )
    for listing, delete in listings:
        for item in listing:
            if item["Spec"]["Name"] not in names:
                try:
                    delete(item["ID"])
                except APIError as error:
                    # Still used by a task that is being stopped: the next deployment removes it.
                    if error.status_code not in (400, 404):
                        raise


def roll_back(
    engine: DockerClient, manager: Runner, app: str, revision: int, seconds: float, report: Report
) -> None:
    """Deploy a kept revision of `app` again and record it as the newest.

    Its secrets have their present values: a database knows no others. Raises RonronError when it
    is not kept any more, NotConverged as `deploy` does.
    """
    revisions = state.observe(engine).records.get(app, ())
    found = [item for item in revisions if item.revision == revision]
    if not found:
        raise RonronError(f"{app}: revision {revision} is not kept any more")
    text = with_secrets(found[0].content["stack"], secrets_of(revisions[-1].content["stack"]))
    with step(report, f"roll back to revision {revision}", app):
        put(engine, manager, app, text)
        converge.wait(engine, app, seconds, report)
        keep(engine, app, text, short_digest(text.encode()), _about(found[0]))


def remove(engine: DockerClient, manager: Runner, app: str, report: Report) -> None:
    """Remove everything of `app` from the swarm; the folders of its volumes are kept."""
    from docker.errors import APIError

    with step(report, "remove", app):
        manager.run(["docker", "stack", "rm", app], check=False, timeout=120)
        filters = {"label": f"ronron.app={app}"}
        until(
            lambda: not engine.api.services(filters=filters) and _networks_gone(engine, app),
            REMOVE_SECONDS,
            f"the services and networks of {app} to go",
        )

        def emptied() -> bool:
            listings = (
                (engine.api.configs(filters=filters), engine.api.remove_config),
                (engine.api.secrets(filters=filters), engine.api.remove_secret),
            )
            left = 0
            for listing, delete in listings:
                for item in listing:
                    try:
                        delete(item["ID"])
                    except APIError:
                        left += 1
            return not left

        until(emptied, REMOVE_SECONDS, f"the configs and secrets of {app} to go")


def _networks_gone(engine: DockerClient, app: str) -> bool:
    from docker.errors import APIError

    filters = {"label": f"{state.STACK_LABEL}={app}"}
    for network in engine.api.networks(filters=filters):
        try:
            engine.api.remove_network(network["Id"])
        except APIError:
            return False
    return True


def restart(
    engine: DockerClient, manager: Runner, app: str, seconds: float, report: Report
) -> None:
    """Replace every task of `app` by a new one, in the order that its services ask for."""
    with step(report, "restart", app):
        for service in converge.services_of(engine, app):
            # Docker's own command leaves the rest of the specification as it is, to the letter.
            command = ["docker", "service", "update", "--force", "--detach"]
            manager.run([*command, service["Spec"]["Name"]])
        converge.wait(engine, app, seconds, report)


def create_proxy_network(engine: DockerClient, subnet: str, options: Mapping[str, str]) -> None:
    """Create the network between the proxy and the apps' web services."""
    from docker.types import IPAMConfig, IPAMPool

    engine.api.create_network(
        PROXY_NETWORK,
        driver="overlay",
        options=dict(options),
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]),
        labels={"ronron.platform": "proxy"},
        scope="swarm",
    )
