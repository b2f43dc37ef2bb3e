"""Images built from a folder by the engine's classic builder, on a base made from Debian."""

from __future__ import annotations

import io
import os
import re
import tarfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ronron.digest import CERTIFICATES, content_files
from ronron.errors import OperatorError, RonronError
from ronron.events import Event, Report, ignore, step
from ronron.servers.runner import Runner

if TYPE_CHECKING:
    from docker import DockerClient

BASE = "debian:trixie-slim"
STAGE_LABEL = "ronron.stage"
"""On what a Dockerfile's first stages leave behind: images without a name, a cache for the next
build of the same folder."""

BUILT_LABEL = "ronron.image"
"""On images that ronron built for a site: the image's name upstream."""

_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LAST_LINES = 15
_CONTEXT_LIMIT = 64 * 2**20
_FROM = re.compile(r"^FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?\s*$", re.I | re.M)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
# What Debian's own slim images leave out.
_SLIM = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=Acquire::Languages "none"',
)


def build(
    engine: DockerClient,
    runner: Runner,
    folder: Path,
    tag: str,
    *,
    report: Report = ignore,
    labels: Mapping[str, str] | None = None,
) -> str:
    """Build the folder's Dockerfile, tag the image, and return its id.

    `runner` is the machine on which `engine` runs. An image that has the tag already is left as it
    is: name tags by `content_digest`. A Dockerfile with `ARG VERSION` is given the tag's version.

    The certificate authorities that this machine trusts are in the build's context as
    `ca-certificates.crt`, for the stages of a Dockerfile that fetch packages.

    Raises OperatorError when the folder cannot be built, RonronError with the build's last lines
    when it fails.
    """
    existing = image_id(engine, tag)
    if existing is not None:
        return existing
    try:
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"{folder}: no Dockerfile to build {tag} from") from error
    for base in bases(dockerfile):
        _ensure(engine, runner, base, report)
    name = f"build {tag}"
    with step(report, name, runner.name):
        stream = engine.api.build(
            fileobj=_context(folder),
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            labels=dict(labels or {}),
            buildargs=build_arguments(dockerfile, tag),
            use_config_proxy=True,
        )
        built = _follow(stream, name, runner.name, report)
    if built is None:
        raise RonronError(f"the Docker engine on {runner.name} built {tag} and named no image")
    return built


def bases(dockerfile: str) -> list[str]:
    """Return the images that the text of a Dockerfile starts from, its own stages left out."""
    found: list[str] = []
    stages = {"scratch"}
    for image, stage in _FROM.findall(dockerfile):
        if image.lower() not in stages and image not in found:
            found.append(image)
        stages.add(stage.lower())
    return found


def build_arguments(dockerfile: str, tag: str) -> dict[str, str]:
    """Return the tag's version, 3.7.15 of `v3.7.15-…`, if the Dockerfile has `ARG VERSION`."""
    version = re.search(r":v?(\d+\.\d+\.\d+)(?:-[^:/]*)?$", tag)
    if version is None or not re.search(r"^ARG\s+VERSION\b", dockerfile, re.M):
        return {}
    return {"VERSION": version.group(1)}


def image_id(engine: DockerClient, reference: str) -> str | None:
    """Return the id of the image that the engine has under this name, or None."""
    from docker.errors import ImageNotFound

    try:
        return str(engine.images.get(reference).id)
    except ImageNotFound:
        return None


def remove_stages(engine: DockerClient) -> int:
    """Remove what the first stages of ronron's own builds left behind; return the bytes freed."""
    wanted = {"dangling": True, "label": STAGE_LABEL}
    return int(engine.images.prune(filters=wanted)["SpaceReclaimed"])


def registry_has(engine: DockerClient, reference: str, *, seconds: float = 15.0) -> bool:
    """Ask the image's container registry, through the engine, whether it can be pulled.

    No answer within `seconds` is a no: a machine without a route out would wait for minutes.
    """
    return bool(registry_digest(engine, reference, seconds=seconds))


def registry_digest(engine: DockerClient, reference: str, *, seconds: float = 15.0) -> str:
    """The digest that the image's container registry has for it; empty as `registry_has` is no."""
    from docker.errors import DockerException
    from requests import RequestException

    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(str(engine.images.get_registry_data(reference).id))
        except (DockerException, RequestException):
            answers.append("")

    asking = threading.Thread(target=ask, daemon=True, name=f"ask for {reference}")
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else ""


def ensure_base(engine: DockerClient, runner: Runner, *, report: Report = ignore) -> None:
    """Make sure that the engine has `debian:trixie-slim`: kept, pulled, or made by mmdebstrap.

    Raises RonronError when `runner`, the engine's machine, has no mmdebstrap to make it with.
    """
    if image_id(engine, BASE) is not None:
        return
    if registry_has(engine, BASE):
        _pull(engine, BASE, runner.name, report)
        return
    make_base(runner, BASE, report=report)


def make_base(runner: Runner, tag: str, *, report: Report = ignore) -> None:
    """Make a base image of Debian 13 from its packages, on the machine where the engine runs.

    Raises RonronError when that machine has no mmdebstrap.
    """
    with step(report, f"make {tag} from Debian packages", runner.name):
        if runner.run(["sh", "-c", "command -v mmdebstrap"], check=False).status != 0:
            raise RonronError(
                f"{runner.name}: no container registry answers, and {tag} cannot be made",
                remedy="install mmdebstrap there: apt-get install mmdebstrap",
            )
        folder = runner.run(["mktemp", "-d"]).text
        try:
            runner.run(base_command(f"{folder}/base.tar"), timeout=1800)
            shell = 'CMD ["bash"]'
            runner.run(["docker", "import", "--change", shell, f"{folder}/base.tar", tag])
        finally:
            runner.run(["rm", "-rf", folder], check=False)


def base_command(target: str) -> list[str]:
    """Return the command that writes the base image's files to the archive `target`."""
    return ["mmdebstrap", "--variant=minbase", *_SLIM, "trixie", target]


def _ensure(engine: DockerClient, runner: Runner, base: str, report: Report) -> None:
    if base == BASE:
        ensure_base(engine, runner, report=report)
    elif image_id(engine, base) is None:
        if not registry_has(engine, base):
            raise RonronError(
                f"{runner.name}: no container registry offers the base image {base}",
                remedy=f"build on {BASE}, or bring {base} there with docker load",
            )
        _pull(engine, base, runner.name, report)


def _pull(engine: DockerClient, reference: str, where: str, report: Report) -> None:
    with step(report, f"pull {reference}", where):
        engine.images.pull(reference)


def _follow(stream: Iterable[dict[str, Any]], name: str, where: str, report: Report) -> str | None:
    """Report the build's steps as they come; return the id of the image that it made."""
    built, current, pending = None, "", ""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    for item in stream:
        # A line may come in several pieces.
        *lines, pending = (pending + _ESCAPES.sub("", item.get("stream") or "")).split("\n")
        for line in filter(None, map(str.rstrip, lines)):
            last.append(line)
            if line.startswith("Step "):
                current = line
                report(Event(name, where, detail=line))
        if item.get("error"):
            if pending.strip():
                last.append(pending.rstrip())
            raise RonronError(
                f"{where}: {name} failed at {current[:100] or 'its start'}",
                remedy="its last lines say why",
                details=[*last, str(item["error"])],
            )
        built = (item.get("aux") or {}).get("ID", built)
    return built


def _context(folder: Path) -> io.BytesIO:
    """Return the build's context: an archive that is the same for the same content."""
    buffer = io.BytesIO()
    certificates = Path(os.environ.get("SSL_CERT_FILE", _SYSTEM_CERTIFICATES))
    size = 0
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in content_files(folder):
            content = path.read_bytes()
            size += len(content)
            if size > _CONTEXT_LIMIT:
                raise OperatorError(
                    f"{folder}: more than {_CONTEXT_LIMIT // 2**20} MiB to build from",
                    remedy="leave large files out with a .dockerignore",
                )
            _add(archive, name, content, executable=os.access(path, os.X_OK))
        bundle = certificates.read_bytes() if certificates.is_file() else b""
        _add(archive, CERTIFICATES, bundle, executable=False)
    buffer.seek(0)
    return buffer


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, executable: bool) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o755 if executable else 0o644
    archive.addfile(entry, io.BytesIO(content))
