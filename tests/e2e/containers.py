"""A recipe's services as plain containers: the image, and what the recipe asks of it, by itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.models.containers import Container
from docker.types import Mount

from e2e.cloud import eventually
from ronron.catalog.recipe import find
from ronron.catalog.render import render
from ronron.catalog.stack import Stack
from ronron.engine.build import build
from ronron.servers.local import LocalRunner
from ronron.site.models import App, Site

SITE = Site.model_validate({"name": "box", "domain": "example.org", "contact": "a@example.org"})
SECOND = 1_000_000_000


@dataclass
class Box:
    """Containers on a network of their own; `close` removes all of it."""

    engine: DockerClient
    folder: Path
    name: str = field(default_factory=lambda: f"ronron-box-{uuid.uuid4().hex[:8]}")
    containers: list[Container] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine.networks.create(self.name)

    def close(self) -> None:
        """Remove the containers with their volumes, then the network."""
        for container in self.containers:
            container.remove(force=True, v=True)
        for volume in self.engine.volumes.list(filters={"name": self.name}):
            volume.remove(force=True)
        self.engine.networks.get(self.name).remove()

    def image(self, stack: Stack, service: str) -> str:
        """Build the service's image, unless the engine has it, and return its name."""
        image = next(image for image in stack.images if image.service == service)
        assert image.folder is not None
        build(self.engine, LocalRunner(), image.folder, image.reference)
        return image.reference

    def start(
        self,
        stack: Stack,
        service: str,
        secrets: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Container:
        """Start a service of a rendered stack as the swarm would: user, mounts, secrets, health."""
        body = stack.compose["services"][service]
        reference = self.image(stack, service)
        health = dict(body["healthcheck"])
        container = self.engine.containers.create(
            reference,
            command=body.get("command"),
            entrypoint=body.get("entrypoint"),
            environment={**(body.get("environment") or {}), **(environment or {})},
            user=body["user"],
            read_only=body["read_only"],
            cap_drop=body["cap_drop"],
            mem_limit=body["deploy"]["resources"]["limits"]["memory"],
            network=self.name,
            networking_config={
                self.name: self.engine.api.create_endpoint_config(aliases=[service])
            },
            mounts=self._mounts(stack, service, body, secrets or {}),
            healthcheck={
                "test": health["test"],
                "interval": SECOND,
                "timeout": 5 * SECOND,
                "retries": 3,
                "start_period": 300 * SECOND,
            },
        )
        self.containers.append(container)
        container.start()
        return container

    def _mounts(
        self, stack: Stack, service: str, body: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> list[Mount]:
        mounts = []
        owners = {volume.name: f"{volume.uid}:{volume.gid}" for volume in stack.volumes}
        for mount in body.get("volumes") or ():
            if mount["type"] == "tmpfs":
                size = mount["tmpfs"]["size"]
                mounts.append(Mount(mount["target"], None, type="tmpfs", tmpfs_size=size))
            elif mount["type"] == "bind":
                source, target = mount["source"], mount["target"]
                mounts.append(Mount(target, source, type="bind", read_only=mount["read_only"]))
            else:
                name = f"{self.name}-{mount['source']}"
                self._own(name, owners[mount["source"]])
                no_copy = mount["volume"]["nocopy"]
                mounts.append(Mount(mount["target"], name, no_copy=no_copy))
        for name in secrets:
            place = self.folder / f"{service}-{name}"
            place.write_text(secrets[name])
            place.chmod(0o644)
            mounts.append(Mount(f"/run/secrets/{name}", str(place), type="bind", read_only=True))
        for config in body.get("configs") or ():
            reference = stack.compose["configs"][config["source"]]["name"]
            place = self.folder / reference
            place.write_bytes(stack.configs[reference].content)
            place.chmod(int(str(config.get("mode", 0o444))))
            mounts.append(Mount(config["target"], str(place), type="bind", read_only=True))
        return mounts

    def _own(self, volume: str, owner: str) -> None:
        """Make a volume whose folder belongs to `owner`, as ronron makes the app's folders."""
        self.engine.containers.run(
            "debian:trixie-slim",
            ["chown", owner, "/volume"],
            mounts=[Mount("/volume", volume, no_copy=True)],
            remove=True,
        )


def stack(recipe: str, **parameters: str) -> Stack:
    """A built-in recipe rendered for an app of the same name."""
    return render(
        App.model_validate({"name": recipe, "recipe": recipe, "parameters": parameters}),
        find(recipe),
        SITE,
        {},
    )


def address(container: Container) -> str:
    """The container's address on its box's network."""
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def healthy(container: Container, seconds: float = 240) -> None:
    """Wait until the recipe's own health check passes; fail at once when the container ends."""

    def look() -> bool:
        container.reload()
        state = container.attrs["State"]
        said = container.logs(tail=20).decode(errors="replace")
        assert state["Running"], f"ended with {state['ExitCode']}:\n{said}"
        return bool(state["Health"]["Status"] == "healthy")

    eventually(look, seconds)


def stopped(container: Container, seconds: int = 60) -> int:
    """Ask the container to stop as Docker does, and return its exit status."""
    container.stop(timeout=seconds)
    return int(container.wait()["StatusCode"])


def execute(container: Container, *argv: str) -> tuple[int, str]:
    """Run a program in the container; return its status and what it wrote."""
    status, output = container.exec_run(list(argv))
    assert status is not None
    assert isinstance(output, bytes)
    return status, output.decode(errors="replace")
