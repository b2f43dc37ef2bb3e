"""The two images that a lab is made of: built when missing, cached by content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ronron.digest import content_digest
from ronron.engine import build
from ronron.events import Report
from ronron.servers.local import LocalRunner

if TYPE_CHECKING:
    from docker import DockerClient

_FOLDERS = Path(__file__).parent / "images"
_LABEL = "ronron.lab.image"
_BASE_LABEL = "ronron.lab.base"


def ensure(engine: DockerClient, kind: str, report: Report) -> str:
    """Return the tag of the image `kind` (`server` or `acme`), built if the engine lacks it."""
    folder = _FOLDERS / kind
    tag = f"ronron-lab-{kind}:{content_digest(folder)}"
    labels = {_LABEL: kind}
    if build.image_id(engine, build.BASE) is None:
        labels[_BASE_LABEL] = "made"
    build.build(engine, LocalRunner(), folder, tag, report=report, labels=labels)
    return tag


def remove(engine: DockerClient) -> None:
    """Remove every image built for a lab or its apps, and what their builds left behind.

    The base image goes too if it was fetched or made for a lab.
    """
    from docker.errors import APIError, ImageNotFound

    labels = (_LABEL, build.BUILT_LABEL)
    images = [image for label in labels for image in engine.images.list(filters={"label": label})]
    tags = [tag for image in images for tag in image.tags]
    if any(image.labels.get(_BASE_LABEL) for image in images):
        tags.append(build.BASE)
    for tag in tags:
        try:
            engine.images.remove(tag)
        except ImageNotFound:
            continue
        except APIError as error:
            if error.status_code != 409:  # in use by a container that is not ours
                raise
    build.remove_stages(engine)
