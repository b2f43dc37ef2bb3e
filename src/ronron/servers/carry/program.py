"""What is carried: ronron as a wheel of its own files, and the wheels that it needs, for a server's
Python."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources, util
from pathlib import Path

from ronron.digest import folder_digest, short_digest
from ronron.errors import OperatorError, RonronError
from ronron.servers.process import last_lines

LEAST_PYTHON = (3, 11)
OLDEST_GLIBC, NEWEST_GLIBC = 5, 36
"""Minor versions of glibc 2 whose wheels are taken; Debian 12 has 2.36."""

DOWNLOAD_SECONDS = 600


@dataclass(frozen=True)
class Target:
    """The Python that a server has (`3.13`) and its processor, as the kernel names it."""

    python: str
    machine: str

    @property
    def fit(self) -> bool:
        """Whether ronron runs with this Python."""
        return tuple(map(int, self.python.split("."))) >= LEAST_PYTHON


def version() -> str:
    """The version of the ronron that runs here."""
    return metadata.version("ronron")


def digest(target: Target) -> str:
    """Names what would be carried for `target`: it changes with any file of it."""
    return short_digest(f"{_own_digest()} {target.python} {target.machine}".encode())


def lock(target: Target) -> str:
    """The packages that ronron needs on `target`, with their hashes, without conditions."""
    from packaging.markers import Marker

    environment = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "platform_machine": target.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    kept: list[str] = []
    wanted = False
    for line in _lock_text().splitlines():
        if not line.startswith((" ", "#")):
            name, _, condition = line.removesuffix("\\").partition(";")
            wanted = not condition.strip() or Marker(condition.strip()).evaluate(environment)
            line = f"{name.strip()} \\"
        kept += [line] if wanted else []
    return "\n".join(kept) + "\n"


def bundle(target: Target) -> bytes:
    """A tar file of all wheels for `target`, ronron's own among them, and their lock file.

    Wheels are downloaded once and kept in the user's cache. Raises OperatorError for a Python
    that is too old, RonronError when wheels are neither there nor to be had.
    """
    if not target.fit:
        least = ".".join(map(str, LEAST_PYTHON))
        raise OperatorError(
            f"its Python {target.python} is too old to run ronron there, which needs {least}",
            remedy="use Debian 12 or newer, or Ubuntu 24.04 or newer",
        )
    text = lock(target)
    wheels = _wheels(target, text)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(wheels.glob("*.whl")):
            archive.add(path, f"wheels/{path.name}")
        for name, content in (("requirements.lock", text.encode()), own_wheel()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def own_wheel() -> tuple[str, bytes]:
    """ronron as a wheel, from the files it runs from: its file's name and its content."""
    name = f"ronron-{version()}"
    files = {f"ronron/{path.relative_to(_package()).as_posix()}": path for path in _own_files()}
    about = {
        f"{name}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: ronron\nVersion: {version()}\n"
        ),
        f"{name}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: ronron\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{name}.dist-info/entry_points.txt": (
            "[console_scripts]\nronron = ronron.cli.main:main\n"
        ),
    }
    record = []
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(file: str, content: bytes, mode: int = 0o644) -> None:
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            record.append(f"{file},sha256={hashed.rstrip('=')},{len(content)}")

        for file, path in files.items():
            add(file, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
        for file, text in about.items():
            add(file, text.encode())
        record.append(f"{name}.dist-info/RECORD,,")
        # By its entry: with its name alone, it would bear the time of now.
        archive.writestr(zipfile.ZipInfo(f"{name}.dist-info/RECORD"), "\n".join(record) + "\n")
    return f"{name}-py3-none-any.whl", packed.getvalue()


def _package() -> Path:
    return Path(str(resources.files("ronron")))


def _own_files() -> Iterator[Path]:
    files = (path for path in sorted(_package().rglob("*")) if path.is_file())
    yield from (path for path in files if "__pycache__" not in path.parts)


@cache
def _own_digest() -> str:
    return folder_digest(_package())


def _lock_text() -> str:
    return (_package() / "requirements.lock").read_text(encoding="utf-8")


def _wheels(target: Target, text: str) -> Path:
    """The folder with the wheels that `text` locks; downloaded unless they are there."""
    cached = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = short_digest(f"{text} {target.python} {target.machine}".encode())
    folder = Path(cached) / "ronron" / "wheels" / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as work:
            _download(target, text, Path(work))
            (Path(work) / "wheels").replace(folder)
    except OSError as error:
        if not folder.is_dir():  # another ronron was quicker otherwise
            raise RonronError(
                f"{folder}: wheels cannot be kept there: {error.strerror}",
                remedy="set XDG_CACHE_HOME to a folder that can be written",
            ) from error
    return folder


def _download(target: Target, text: str, work: Path) -> None:
    if util.find_spec("pip") is None:
        raise RonronError(
            "packages for the manager cannot be fetched: this computer's ronron has no pip",
            remedy=f"{sys.executable} -m ensurepip",
        )
    (work / "requirements.lock").write_text(text)
    argv = download_command(target, work / "requirements.lock", work / "wheels")
    try:
        done = subprocess.run(argv, capture_output=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RonronError(
            f"packages for the manager were not fetched within {DOWNLOAD_SECONDS} s",
            remedy="look at this computer's connection and run ronron apply again",
        ) from error
    if done.returncode:
        raise RonronError(
            f"packages for the manager's Python {target.python} could not be fetched here",
            remedy="pip must reach a package index from this computer, once",
            details=last_lines(done.stderr),
        )


def download_command(target: Target, requirements: Path, folder: Path) -> list[str]:
    """pip's command that fetches what `requirements` locks for `target` into `folder`."""
    platforms = [
        f"manylinux_2_{minor}_{target.machine}"
        for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)
    ]
    platforms += [f"manylinux{old}_{target.machine}" for old in ("2014", "2010", "1")]
    abis = (f"cp{target.python.replace('.', '')}", "abi3", "none")
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--python-version", target.python, "--implementation", "cp"),
        *(word for abi in abis for word in ("--abi", abi)),
        *(word for platform in platforms for word in ("--platform", platform)),
        *("--dest", str(folder), "--requirement", str(requirements)),
    ]
