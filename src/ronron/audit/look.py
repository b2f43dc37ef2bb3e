"""Runs on a server: prints what an audit wants to know from inside, as one JSON object.

It is sent as it is (`python3 - QUERY`), so it stands alone: Python 3.9 and its standard library.
QUERY is JSON: `deep` runs lynis and docker-bench-security where they are installed, `users` are
those of whom sshd is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOTS = ("/etc", "/root", "/home", "/opt", "/var/lib/ronron", "/srv/ronron", "/usr/local/etc")
MOST_FILES = 200_000
NAMES = re.compile(
    r"(\.(key|pem|p12|pfx|kdbx|env|secret)|(^|_)(id_(rsa|dsa|ecdsa|ed25519)|identity|key)|^\.env.*|"
    r"^\.(htpasswd|pgpass|my\.cnf|netrc)|^acme\.json|"
    r"^(credentials|password|secret)s?(\.(txt|json|ya?ml|ini|conf|cfg))?)$"
)
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")
MOST_BYTES = 32 << 20
"""What is read of a file that a container may have written."""
SSHD = ("passwordauthentication", "kbdinteractiveauthentication", "permitrootlogin")
PROGRAMS = {"site-packages", "dist-packages", "node_modules", "vendor", "overlay2"}
PRIVATE = re.compile(rb"PRIVATE KEY|AGE-SECRET-KEY-")
ASSIGNED = re.compile(
    rb"(?im)^\s*(export\s+)?[\w.-]*(pass(word)?|secret|token|api_?key)[\w.-]*"
    rb"\s*[=:]\s*[\"']?[^\s\"']{6}"
)
MATERIAL = re.compile(r"\.(p12|pfx|kdbx)$|^acme\.json$|^\.(htpasswd|pgpass|netrc)$")


def _output(*argv: str, seconds: float = 120) -> str:
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _secrets() -> tuple[list[dict[str, str]], str]:
    """Files with keys or passwords that every user of the server can read; the folder where the
    search ended early, empty when it did not."""
    found: list[dict[str, str]] = []
    seen = 0
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            if not _open_to_all(folder):
                folders[:] = []  # Nobody else gets in here.
                continue
            folders[:] = [one for one in folders if one not in PROGRAMS]
            seen += len(names)
            if seen > MOST_FILES:
                return found, folder
            for name in names:
                path = Path(folder, name)
                if NAMES.search(name) and (kind := _readable(path)):
                    found.append({"path": str(path), "kind": kind})
    return found, ""


def _open_to_all(folder: str) -> bool:
    try:
        return bool(Path(folder).stat().st_mode & stat.S_IXOTH)
    except OSError:
        return False  # It went meanwhile.


def _readable(path: Path) -> str:
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or not about.st_mode & stat.S_IROTH:
            return ""
        with path.open("rb") as file:
            content = file.read(65536)
    except OSError:
        return ""
    if PRIVATE.search(content):
        return "a private key"
    if content and (MATERIAL.search(path.name) or ASSIGNED.search(content)):
        return "passwords"
    return ""


def _containers() -> list[dict[str, Any]]:
    ids = _output("docker", "ps", "-q", "--no-trunc").split()
    if not ids:
        return []
    images: dict[str, Any] = {}
    found = []
    for one in json.loads(_output("docker", "inspect", *ids) or "[]"):
        config, host = one["Config"], one["HostConfig"]
        labels = config.get("Labels") or {}
        image = one["Image"]
        if image not in images:
            shown = json.loads(_output("docker", "image", "inspect", image) or "[]") or [{}]
            images[image] = {
                "created": shown[0].get("Created", ""),
                "packages": _packages(one["State"]["Pid"]),
            }
        service = labels.get("com.docker.swarm.service.name", "")
        app = labels.get("com.docker.stack.namespace", "")
        found.append(
            {
                "name": service or one["Name"].lstrip("/"),
                "app": app,
                "image": config["Image"],
                "user": config.get("User") or "",
                "privileged": bool(host.get("Privileged")),
                "namespaces": [
                    kind
                    for kind in ("NetworkMode", "PidMode", "IpcMode", "UTSMode")
                    if host.get(kind) == "host"
                ],
                "mounts": [
                    mount["Source"]
                    for mount in one.get("Mounts") or ()
                    if mount.get("Type") == "bind"
                ],
                "memory": host.get("Memory") or 0,
                "added": host.get("CapAdd") or [],
                "dropped": host.get("CapDrop") or [],
                **images[image],
            }
        )
    return found


def _theirs(path: str) -> str:
    """The text of a file that a container may have written: no pipe is waited for, and no device
    is read to its end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ""
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _packages(process: int) -> dict[str, str]:
    """Debian packages in a container of this server's own release, by name: versions."""
    root = f"/proc/{process}/root"
    there = _release(_theirs(root + "/etc/os-release"))
    if not there or _release(_text("/etc/os-release")) != there:
        return {}
    return _installed(_theirs(root + "/var/lib/dpkg/status"))


def _installed(text: str) -> dict[str, str]:
    """The packages that a file of dpkg's tells, by name: versions.

    Both become arguments of programs here: what is no name or version is left out.
    """
    found = {}
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line[:40])
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if fields.get("Status") != "install ok installed":
            continue
        if PACKAGE.fullmatch(name) and VERSION.fullmatch(version):
            found[name] = version
    return found


def _release(text: str) -> str:
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", text, re.M)
    return found.group(1) if found else ""


def _candidates(containers: list[dict[str, Any]]) -> None:
    """Leave of each container's packages those that this server's package lists have newer."""
    names = sorted({name for one in containers for name in one["packages"]})
    newest: dict[str, str] = {}
    name = ""
    for line in _output("apt-cache", "-q", "policy", "--", *names).splitlines() if names else ():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        elif line.startswith("  Candidate: "):
            newest[name] = line.split(": ", 1)[1]
    newer: dict[tuple[str, str], bool] = {}

    def is_newer(there: str, candidate: str) -> bool:
        if there == candidate or candidate == "(none)":
            return False
        if (there, candidate) not in newer:
            argv = ["dpkg", "--compare-versions", candidate, "gt", there]
            newer[there, candidate] = subprocess.run(argv, check=False).returncode == 0
        return newer[there, candidate]

    for one in containers:
        one["packages"] = {
            name: [version, newest[name]]
            for name, version in one["packages"].items()
            if name in newest and is_newer(version, newest[name])
        }


def _upgrades() -> dict[str, list[str]]:
    """Pending upgrades of the server itself: those for security, and others."""
    found: dict[str, list[str]] = {"security": [], "other": []}
    for line in _output("apt", "list", "--upgradable").splitlines():
        match = re.match(r"([^/]+)/(\S+) (\S+) ", line)
        if match:
            kind = "security" if "-security" in match.group(2) else "other"
            found[kind].append(match.group(1) + " " + match.group(3))
    return found


def _lists_age() -> float:
    """Seconds since the package lists were fetched; negative when there are none."""
    times = [path.stat().st_mtime for path in Path("/var/lib/apt/lists").glob("*Packages*")]
    return time.time() - max(times) if times else -1.0


def _lynis(deep: bool) -> dict[str, Any] | None:
    report = Path("/var/log/lynis-report.dat")
    if deep and shutil.which("lynis"):
        _output("lynis", "audit", "system", "--quick", "--quiet", "--no-colors", seconds=500)
    if not report.is_file():
        return None
    found: dict[str, Any] = {"warnings": [], "suggestions": 0, "index": None}
    found["age"] = time.time() - report.stat().st_mtime
    for line in _text(str(report)).splitlines():
        key, _, value = line.partition("=")
        if key == "warning[]":
            found["warnings"].append(value)
        elif key == "suggestion[]":
            found["suggestions"] += 1
        elif key == "hardening_index":
            found["index"] = int(value)
    return found


def _docker_bench() -> dict[str, Any] | None:
    """What docker-bench-security warns of, where it is installed: read in its JSON log.

    It may write nowhere but in a folder aside, where it finds its own parts, and send nothing.
    """
    names = ("docker-bench-security", "docker-bench-security.sh")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for part in ("functions", "tests"):
            Path(folder, part).symlink_to(Path(program).resolve().parent / part)
        limits = {
            "ProtectSystem": "strict",
            "ReadWritePaths": folder,
            "WorkingDirectory": folder,
            "IPAddressDeny": "any",
            "RuntimeMaxSec": "300",
        }
        start = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect"]
        start += [f"--property={key}={value}" for key, value in limits.items()]
        log = f"{folder}/report"
        said = _output(*start, program, "-b", "-p", "-l", log, seconds=330)
        try:
            report = json.loads(_text(f"{log}.json"))
            checks = [one for section in report["tests"] for one in section["results"]]
        except (ValueError, KeyError, TypeError):
            last = [line for line in said.splitlines() if line.strip()][-1:]
            return {"warnings": [], "problem": "its log cannot be read: " + "".join(last)}
    fields = ("id", "desc", "details", "remediation")
    warnings = [one for one in checks if one.get("result") == "WARN"]
    told = [{key: str(one.get(key) or "") for key in fields} for one in warnings]
    return {"warnings": told, "problem": ""}


def _docker_listens() -> list[str]:
    """TCP addresses that the Docker daemon was told to listen on."""
    hosts = []
    for process in Path("/proc").glob("[0-9]*"):
        words = _text(str(process / "cmdline")).split("\0")
        if words[0].rpartition("/")[2] == "dockerd":
            hosts += [word for word in words if "tcp://" in word]
    with contextlib.suppress(ValueError):
        hosts += json.loads(_text("/etc/docker/daemon.json") or "{}").get("hosts") or []
    return [host for host in hosts if "tcp://" in host]


def _udp() -> set[tuple[int, str, str]]:
    """Where programs listen on UDP: port, address and program, those of this server alone left
    out. The kernel's own have no program."""
    found = set()
    for line in _output("ss", "-Hlunp").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not address.startswith(("127.", "[::1]", "[::ffff:127.")):
            program = re.search(r'\(\("([^"]+)"', line)
            found.add((int(port), address, program.group(1) if program else ""))
    return found


def _sshd(users: list[str]) -> dict[str, dict[str, str]]:
    """What sshd takes from strangers who log in as one of `users`: its settings by user, none where
    it does not tell. What Match says of others is not seen."""
    found = {}
    for user in users:
        who = f"user={user},host=stranger.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
        told = _output("/usr/sbin/sshd", "-T", "-C", who).splitlines()
        settings = dict(line.split(" ", 1) for line in told if " " in line)
        found[user] = {key: settings[key] for key in SSHD if key in settings}
    return found


def _look(query: dict[str, Any]) -> dict[str, Any]:
    udp = _udp()
    containers = _containers()
    _candidates(containers)
    secrets, ended = _secrets()
    return {
        "clock": time.time(),
        "secrets": secrets,
        "search_ended": ended,
        "containers": containers,
        "upgrades": _upgrades(),
        "lists_age": _lists_age(),
        "reboot": Path("/run/reboot-required").exists(),
        "docker_listens": _docker_listens(),
        "sshd": _sshd(query.get("users") or []),
        # Who asks waits for the answer on a port too, but not for as long as this takes.
        "udp": sorted(udp & _udp()),
        "lynis": _lynis(bool(query.get("deep"))),
        "docker_bench": _docker_bench() if query.get("deep") else None,
    }


json.dump(_look(json.loads(sys.argv[1])), sys.stdout)
