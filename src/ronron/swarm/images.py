"""Images: in the site's registry once, pulled or built; the servers pull from there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from ronron.catalog.stack import Image
from ronron.engine.build import BUILT_LABEL, build, image_id, registry_has
from ronron.engine.client import local_engine
from ronron.errors import RonronError
from ronron.events import Event, Report, step
from ronron.servers.local import LocalRunner
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from docker import DockerClient

Source = Literal["auto", "pull", "build"]


def missing(engine: DockerClient, images: Iterable[Image]) -> list[Image]:
    """Which images the site's registry does not have, asked through the manager's `engine`."""
    wanted = {image.reference: image for image in images}
    return [
        image
        for reference, image in wanted.items()
        if not registry_has(engine, reference, seconds=10.0)
    ]


def supply(
    engine: DockerClient,
    manager: Runner,
    images: Iterable[Image],
    *,
    source: Source,
    push: bool,
    report: Report,
) -> None:
    """Bring `images` to the manager's `engine`, and with `push` into the site's registry.

    Raises RonronError for an image that can neither be pulled nor built.
    """
    with ExitStack() as stack:
        local = None
        for image in images:
            if image_id(engine, image.reference) is None:
                local = local or _builder(stack)
                with step(report, f"image {image.upstream}", manager.name):
                    _obtain(engine, manager, local, image, source, report)
            if push:
                with step(report, f"push {image.upstream} to the registry", manager.name):
                    _push(engine, image.reference)


def _builder(stack: ExitStack) -> DockerClient | None:
    local = local_engine()
    if local is not None:
        stack.callback(local.close)
    return local


def _obtain(
    engine: DockerClient,
    manager: Runner,
    local: DockerClient | None,
    image: Image,
    source: Source,
    report: Report,
) -> None:
    if source != "build" and registry_has(engine, image.upstream):
        engine.images.pull(image.upstream)
        repository, tag = image.reference.rsplit(":", 1)
        engine.api.tag(image.upstream, repository, tag)
        return
    if source == "pull" or image.folder is None:
        why = "no registry that answers has it" + (
            "" if image.folder else ", and no Dockerfile is known for it"
        )
        remedy = "check the name and the tag; a recipe's build: names a folder to build it from"
        raise RonronError(f"image {image.upstream}: {why}", remedy=remedy)
    labels = {BUILT_LABEL: image.upstream}
    if local is None:
        build(engine, manager, image.folder, image.reference, report=report, labels=labels)
        return
    build(local, LocalRunner(), image.folder, image.reference, report=report, labels=labels)
    report(Event(f"image {image.upstream}", manager.name, detail="sending it there"))
    _send(local, engine, image.reference)


def _send(local: DockerClient, engine: DockerClient, reference: str) -> None:
    """Copy an image from one engine to another, as a stream."""
    if local.info()["ID"] == engine.info()["ID"]:
        return
    chunks = local.images.get(reference).save(chunk_size=1 << 20, named=reference)
    engine.images.load(chunks)  # type: ignore[arg-type]  # a stream is sent as it comes


def _push(engine: DockerClient, reference: str) -> None:
    repository, tag = reference.rsplit(":", 1)
    for line in engine.api.push(repository, tag, stream=True, decode=True):
        if "error" in line:
            raise RonronError(
                f"{reference}: the registry refused it: {line['error']}",
                remedy="ronron status shows whether the registry runs",
            )
