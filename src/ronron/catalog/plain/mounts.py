"""Volumes and mounts: named volumes, host paths, files beside the stack, memory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ronron.catalog import sockets
from ronron.catalog.interpolate import Step
from ronron.catalog.plain import images
from ronron.catalog.plain.objects import CONFIG_NAME
from ronron.catalog.plain.reading import Reading, listing, short_name, slug, split

_CONFIG_BYTES = 500_000
"""Largest Docker config, from Docker's documentation (older engines; newer take 1,000 kB)."""

_CONFIG_FILES = 50
_READ_FOLDERS = ("/etc", "/docker-entrypoint-initdb.d", "/usr/local/etc", "/config.d")
_CLOCK = ("/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo")
_SIZES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass
class Declared:
    """A volume under `volumes`: a folder of the site, a host path, or memory (`size` bytes)."""

    host: str | None = None
    memory: bool = False
    size: int | None = None
    was: str = ""


@dataclass
class Mount:
    """One entry of a service's `volumes`."""

    source: str
    target: str
    read_only: bool = False
    kind: str = ""
    nocopy: bool = False
    size: int | None = None


@dataclass
class Volumes:
    """The stack's volumes: which service mounts each where; configs made of files."""

    used: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()


def bytes_of(text: str) -> int | None:
    """Return the bytes that `64m` or `1GB` are, None when it is not a size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?", text.strip().lower())
    return int(float(match[1]) * _SIZES[match[2]]) if match else None


def translate(reading: Reading, tree: dict[str, Any], services: dict[str, Any]) -> Volumes:
    """Rewrite the mounts of every service, and `volumes` at the top; return what they hold."""
    declared = {
        name: _declared(reading, name, body or {})
        for name, body in (tree.get("volumes") or {}).items()
    }
    found = Volumes(taken=frozenset(tree.get("configs") or {}))
    for service, body in services.items():
        mounts = _Service(reading, service, body, declared, found)
        for i, raw in enumerate(listing(body.get("volumes"))):
            mounts.add(raw, ("services", service, "volumes", i))
        for i, raw in enumerate(listing(body.pop("tmpfs", None))):
            text = reading.value(raw, ("services", service, "tmpfs", i))
            mounts.memory(text, ("services", service, "tmpfs", i))
        if "shm_size" in body:
            steps = ("services", service, "shm_size")
            mounts.memory("/dev/shm:size=" + reading.value(body.pop("shm_size"), steps), steps)  # noqa: S108
            reading.note(steps, f"{service}: shm_size became memory mounted at /dev/shm")
        body.pop("volumes", None)
        if mounts.entries:
            body["volumes"] = mounts.entries
        if mounts.configs:
            body["configs"] = [*listing(body.get("configs")), *mounts.configs]
    tree.pop("volumes", None)
    if found.used:
        tree["volumes"] = {name: {} for name in found.used}
    for name, declaration in declared.items():
        if name in found.used and declaration.was:
            text = f"volume {name} was {declaration.was}: now on this site's storage, empty"
            reading.note(("volumes", name), text)
        elif name not in found.used and declaration.host is None and not declaration.memory:
            reading.note(("volumes", name), f"volume {name} is not used: left out")
    return found


def _declared(reading: Reading, name: str, body: Mapping[str, Any]) -> Declared:
    steps: tuple[Step, ...] = ("volumes", name)
    driver = reading.value(body.get("driver"), steps)
    options = {
        str(key): reading.value(value, (*steps, "driver_opts", str(key)))
        for key, value in (body.get("driver_opts") or {}).items()
    }
    if body.get("external"):
        return Declared(was="external")
    kind, mode = options.get("type", ""), options.get("o", "").split(",")
    if driver in ("", "local"):
        device = options.get("device", "")
        if kind == "tmpfs":
            size = next((o[5:] for o in mode if o.startswith("size=")), "")
            return Declared(memory=True, size=bytes_of(size))
        if "bind" in mode or "rbind" in mode or (kind in ("none", "") and device):
            return Declared(host=device)
        if kind:
            address = next((o[5:] for o in mode if o.startswith("addr=")), "")
            where = f"{address}{device}" if device.startswith(":") else device
            return Declared(was=f"{kind} {where}".strip())
        return Declared()
    share = options.get("share") or options.get("device") or options.get("mountpoint") or ""
    return Declared(was=f"of driver {driver}" + (f" ({share})" if share else ""))


class _Service:
    def __init__(
        self,
        reading: Reading,
        service: str,
        body: Mapping[str, Any],
        declared: Mapping[str, Declared],
        found: Volumes,
    ) -> None:
        self.entries: list[object] = []
        self.configs: list[dict[str, Any]] = []
        self._reading = reading
        self._service = service
        self._image = reading.value(body.get("image"), ("services", service, "image"))
        self._declared = declared
        self._found = found

    def add(self, raw: object, steps: tuple[Step, ...]) -> None:
        """Translate one entry of `volumes`."""
        mount = self._long(raw, steps) if isinstance(raw, Mapping) else self._short(raw, steps)
        if not mount.target.startswith("/"):
            text = f"“{mount.target or raw}” is not a folder in the container"
            self._reading.refuse(steps, text, "write SOURCE:/FOLDER")
        elif mount.kind == "tmpfs":
            self._tmpfs(mount.target, mount.size)
        elif mount.kind not in ("", "volume", "bind"):
            text = f"mounts of type {mount.kind} cannot be carried over"
            self._reading.refuse(steps, text, "use a volume")
        elif not mount.source:
            mount.source = self._unique(slug(posixpath.basename(mount.target.rstrip("/"))))
            self._reading.note(steps, f"{self._service}: {mount.target} became a volume")
            self._named(mount)
        elif (
            mount.kind == "bind"
            or mount.source.startswith((".", "/", "~"))
            or ("/" in mount.source)
        ):
            self._bind(mount, steps)
        elif mount.source not in self._declared:
            text = f"volume {mount.source} is not declared"
            self._reading.refuse(steps, text, "add it under volumes: at the end of the file")
        else:
            self._volume(mount, self._declared[mount.source], steps)

    def memory(self, text: str, steps: tuple[Step, ...]) -> None:
        """Translate one entry of `tmpfs`, such as `/run:size=64m`."""
        target, _, options = text.partition(":")
        size = None
        for option in filter(None, options.split(",")):
            name, _, value = option.partition("=")
            if name == "size":
                size = bytes_of(value)
            elif name not in ("rw", "noexec", "nosuid", "nodev"):
                self._reading.note(steps, f"{self._service}: tmpfs option {option} is left out")
        self._tmpfs(target, size)

    def _short(self, raw: object, steps: tuple[Step, ...]) -> Mount:
        pieces = split(str(raw))
        if len(pieces) == 1 and "$" in pieces[0]:
            pieces = split(self._reading.value(raw, steps))
        values = [self._reading.value(piece, steps) for piece in pieces]
        if len(values) == 1:
            return Mount("", values[0])
        options = ",".join(values[2:]).split(",")
        return Mount(
            _here(pieces[0], values[0]), values[1], "ro" in options, "", "nocopy" in options
        )

    def _long(self, raw: Mapping[str, Any], steps: tuple[Step, ...]) -> Mount:
        text = {
            key: self._reading.value(raw.get(key), (*steps, key))
            for key in ("type", "source", "src", "target", "dst", "destination")
        }
        source = str(raw.get("source") or raw.get("src") or "")
        volume, memory = raw.get("volume") or {}, raw.get("tmpfs") or {}
        if "subpath" in volume:
            remedy = "give it a volume of its own"
            self._reading.refuse(steps, "a part of a volume cannot be mounted", remedy)
        return Mount(
            _here(source, text["source"] or text["src"]),
            text["target"] or text["dst"] or text["destination"],
            self._reading.flag(raw.get("read_only") or raw.get("readonly"), steps),
            text["type"],
            self._reading.flag(volume.get("nocopy"), steps),
            bytes_of(self._reading.value(memory.get("size"), steps)),
        )

    def _volume(self, mount: Mount, declared: Declared, steps: tuple[Step, ...]) -> None:
        if declared.memory:
            self._tmpfs(mount.target, declared.size)
        elif declared.host is not None:
            where = ("volumes", mount.source, "driver_opts", "device")
            host = Mount(_here(declared.host, declared.host), mount.target, mount.read_only, "bind")
            self._bind(host, where if where in self._reading.document.lines else steps)
        else:
            self._named(mount)

    def _named(self, mount: Mount) -> None:
        self._found.used.setdefault(mount.source, []).append((self._service, mount.target))
        if mount.nocopy:
            entry: dict[str, Any] = {"type": "volume", "source": mount.source}
            entry |= {"target": mount.target, "volume": {"nocopy": True}}
            self.entries.append(entry | ({"read_only": True} if mount.read_only else {}))
            return
        text = f"{mount.source}:{mount.target}".replace("$", "$$")
        self.entries.append(f"{text}:ro" if mount.read_only else text)

    def _tmpfs(self, target: str, size: int | None) -> None:
        entry: dict[str, Any] = {"type": "tmpfs", "target": target}
        self.entries.append(entry | ({"tmpfs": {"size": size}} if size else {}))

    def _unique(self, name: str) -> str:
        taken = {*self._declared, *self._found.used}
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        return candidate

    def _bind(self, mount: Mount, steps: tuple[Step, ...]) -> None:
        reading, path = self._reading, posixpath.normpath(mount.source)
        path = f"/{path.lstrip('/')}" if mount.source.startswith("/") else path
        absolute = path.startswith(("/", "~", "..")) or path == "."
        if sockets.is_reached(path):
            message = f"{mount.source} gives the container every server of the swarm"
            reading.refuse(steps, message, "remove it: no app gets the Docker socket")
        elif path.startswith(_CLOCK):
            text = f"{self._service}: {path} of the server is left out (set TZ in its environment)"
            reading.note(steps, text)
        elif path.startswith("/dev/shm"):  # noqa: S108 - what files say
            self._tmpfs(mount.target, None)
        elif not absolute:
            self._beside(mount, path, steps)
        elif not reading.allow_host_paths:
            remedy = "use a volume, or allow it with --allow-host-paths"
            reading.refuse(steps, f"{mount.source} is a path of the server's own disk", remedy)
        elif not path.startswith("/"):
            reading.refuse(steps, f"{mount.source} is on no server", "write the whole path")
        else:
            entry: dict[str, Any] = {"type": "bind", "source": path, "target": mount.target}
            self.entries.append(entry | ({"read_only": True} if mount.read_only else {}))
            text = f"{self._service}: {path} must be on every server where it may run"
            reading.note(steps, text)

    def _beside(self, mount: Mount, path: str, steps: tuple[Step, ...]) -> None:
        """Mount what is beside the stack file: files as configs, an empty folder as a volume."""
        reading, full = self._reading, self._reading.folder / path
        if full.is_file():
            if reading.needs(path, steps) is not None:
                self._config(path, full, mount.target, steps)
                text = f"{self._service}: the file {path} became a config, mounted read-only"
                reading.note(steps, text)
            return
        held = sorted(p for p in full.rglob("*") if p.is_file()) if full.is_dir() else []
        reads = mount.read_only or mount.target.startswith(_READ_FOLDERS)
        if held and reads and len(held) <= _CONFIG_FILES:
            for file in held:
                inside = file.relative_to(full).as_posix()
                if reading.needs(f"{path}/{inside}", steps) is not None:
                    target = f"{mount.target.rstrip('/')}/{inside}"
                    self._config(f"{path}/{inside}", file, target, steps)
            text = f"{self._service}: the {len(held)} files of {path} became configs, read-only"
            reading.note(steps, text)
        elif held:
            remedy = "mount it :ro if it is only read, or leave the folder out and fill the volume"
            reading.refuse(steps, f"{path} holds files that a volume would not have", remedy)
        elif not full.is_dir() and _names_a_file(path, mount.target):
            reading.refuse(steps, f"{path} is missing beside the stack file", "put it there")
        else:
            name = slug(path)
            if name in self._declared:
                name = self._unique(name)
            mount.source = name
            self._named(mount)
            text = f"{self._service}: the folder {path} became the volume {name}, empty"
            reading.note(steps, text)

    def _config(self, path: str, full: Path, target: str, steps: tuple[Step, ...]) -> None:
        if full.stat().st_size > _CONFIG_BYTES:
            remedy = "put it in the image, or in a volume"
            self._reading.refuse(steps, f"{path} is larger than a config may be", remedy)
            return
        taken = {*self._found.taken, *self._found.configs}
        name = short_name(path, taken, CONFIG_NAME)
        for known, body in self._found.configs.items():
            if body["file"] == f"./{posixpath.normpath(path)}":
                name = known
        self._found.configs[name] = {"file": f"./{posixpath.normpath(path)}"}
        mode = 0o555 if full.stat().st_mode & 0o111 else 0o444
        self.configs.append({"source": name, "target": target, "mode": mode})


def _here(raw: str, value: str) -> str:
    """Return a path, relative where it was written with `${PWD}`."""
    match = re.match(r"\$(?:PWD|\{PWD(?::?[-?][^}]*)?\})(?=/|$)(.*)", raw)
    return f".{match[1]}" if match else value


def _names_a_file(path: str, target: str) -> bool:
    suffix = posixpath.splitext(path)[1]
    return bool(suffix) and suffix == posixpath.splitext(target)[1]


def kind_of(image: str, target: str) -> str:
    """Return the class of a volume that `image` mounts at `target`."""
    return "database" if images.is_database_folder(image, target) else "files"
