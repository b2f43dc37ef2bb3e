"""Virtual machines with Debian's own kernel, for what the lab's containers lack.

That is LVM, NFS, AppArmor, audit, encrypted networks, and a start of their own. QEMU emulates them
in software, so that they run where there is no KVM. They are in a network that Docker makes for
them; its ranges are free, and the operator reaches them by their addresses.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import ipaddress
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ronron.errors import RonronError
from ronron.servers.connections import connections
from ronron.servers.runner import Runner
from ronron.site.load import LoadedSite, load_site

BUILD = Path(__file__).with_name("image.sh")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ronron" / "machines"
PREFIX, BRIDGE = "ronron-vm", "rrvm"
SECONDS = 900.0
"""How long a machine may take to start: 30 s where nothing else runs."""

BOOT = (
    "root=/dev/vda rw rootflags=noinit_itable console=ttyS0 quiet panic=-1 mitigations=off "
    "init_on_alloc=0 net.ifnames=0"
)
INSPECT = ("docker", "network", "inspect", "--format")

Found = TypeVar("Found")


def possible() -> bool:
    """Whether this computer can have such machines."""
    programs = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "docker", "ip")
    return os.geteuid() == 0 and all(map(shutil.which, programs)) and Path("/dev/net/tun").exists()


def image() -> Path:
    """The folder with disk, kernel and initrd, made at the first time and whenever that changes."""
    folder = CACHE / hashlib.sha256(BUILD.read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in CACHE.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            new = folder.with_suffix(".new")
            new.mkdir()
            subprocess.run(["sh", str(BUILD), str(new)], check=True, timeout=1500)
            new.rename(folder)
    return folder


@dataclass(frozen=True)
class Machine:
    """One machine; what it sends and gets passes the operator's network interface `tap`."""

    name: str
    address: str
    address6: str
    tap: str
    process: subprocess.Popen[bytes]
    console: Path


@dataclass(frozen=True)
class Machines:
    """Machines that run, and the folder of the site that has them as servers.

    `settings` are the lines of `ronron.yml` that all its sites have.
    """

    folder: Path
    key: Path
    settings: str
    machines: dict[str, Machine] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)

    def site(self, more: str = "") -> LoadedSite:
        """The site with the servers that run, the first manager and storage, and `more` of YAML."""
        lines = [
            "name: machines",
            "domain: example.org",
            "contact: admin@example.org",
            f"ssh: {{key: {self.key}}}",
            *self.settings.splitlines(),
            "servers:",
        ]
        alive = [one for one in self.machines.values() if one.process.poll() is None]
        for number, one in enumerate(alive):
            roles = "[worker]" if number else "[manager, storage, worker]"
            lines.append(f"  {one.name}: {{address: {one.address}, roles: {roles}}}")
        (self.folder / "ronron.yml").write_text("\n".join(lines) + "\n" + more)
        return load_site(self.folder)

    def kill(self, name: str) -> None:
        """End a machine as a power cut does: nothing on it is told."""
        _end(self.machines[name].process)

    def ronron(self, *arguments: str) -> str:
        """Type `ronron …` for the site; it must end with status 0. Returns what it printed."""
        argv = [sys.executable, "-m", "ronron", "--site", str(self.folder), *arguments]
        own = {"RONRON_KEY_FILE": str(self.vault_key), "XDG_STATE_HOME": str(self.folder)}
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=1200, env={**os.environ, **own}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def vault_key(self) -> Path:
        """What opens the site's vault, if it has one."""
        return self.folder / "vault.key"

    def on(self, name: str, *argv: str, stdin: bytes | None = None, seconds: float = 300) -> str:
        """Run a command on a machine as root; it must end with status 0."""
        return self.runners[name].run(argv, stdin=stdin, timeout=seconds).text


def eventually(look: Callable[[], Found | None], seconds: float) -> Found:
    """Look until there is something, and return that; fail when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {look}"
        threading.Event().wait(0.2)
    return found


@contextmanager
def machines(
    folder: Path,
    wanted: Mapping[str, tuple[str, ...]],
    settings: str = "",
    boot: str = "",
    processors: int = 1,
) -> Iterator[Machines]:
    """Start machines, by name with the names of their further disks of 2 GiB each.

    A disk is `/dev/disk/by-id/virtio-NAME` there. `boot` is added to the kernel's command line.
    """
    from_ = image()
    _remove_leftovers()
    network = f"{PREFIX}-{os.getpid()}"
    bridge = f"{BRIDGE}{os.getpid()}"
    folder.mkdir(exist_ok=True)
    key, host_key = folder / "key", folder / "host-key"
    for path in (key, host_key):
        _said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path))
    public = Path(f"{host_key}.pub").read_text().strip()
    with ExitStack() as leaving:
        option = f"com.docker.network.bridge.name={bridge}"
        hosts6 = ipaddress.ip_network((0xFD << 120 | os.getpid() << 64, 64))
        six = ("--ipv6", "--subnet", str(hosts6))
        _said("docker", "network", "create", "--opt", option, *six, network)
        leaving.callback(_said, "docker", "network", "rm", network)
        form = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
        subnets = map(ipaddress.ip_network, _said(*INSPECT, form, network).split())
        hosts = next(one for one in subnets if one.version == 4)
        found = Machines(folder, key, settings)
        for number, (name, disks) in enumerate(wanted.items()):
            tap = f"{bridge}t{number}"
            _said("ip", "tuntap", "add", "dev", tap, "mode", "tap")
            leaving.callback(_said, "ip", "link", "delete", tap)
            _said("ip", "link", "set", tap, "master", bridge, "up")
            address, address6 = str(hosts[11 + number]), str(hosts6[11 + number])
            ways = (
                f"ip={address}::{hosts[1]}:{hosts.netmask}:{name}:eth0:off",
                f"ip=[{address6}]::[{hosts6[1]}]:{hosts6.prefixlen}:{name}:eth0:off",
            )
            argv = _qemu(from_, folder, name, disks, tap, number, " ".join((*ways, boot)), public)
            argv += ["-smp", str(processors)]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            leaving.callback(_end, process)
            console = folder / f"{name}.log"
            found.machines[name] = Machine(name, address, address6, tap, process, console)
        (folder / "known_hosts").write_text("".join(f"{name} {public}\n" for name in wanted))
        # Kept open: under emulation it takes seconds to log in.
        opened = leaving.enter_context(connections(found.site()))
        for name in wanted:
            found.runners[name] = opened[name]
            eventually(lambda name=name: answers(found, name), SECONDS)  # type: ignore[misc]
        yield found


def _qemu(
    image: Path,
    folder: Path,
    name: str,
    disks: tuple[str, ...],
    tap: str,
    number: int,
    boot: str,
    public: str,
) -> list[str]:
    """The argv of one machine. What is its own comes to it as a credential of systemd."""
    host_key = base64.b64encode((folder / "host-key").read_bytes()).decode()
    login = (folder / "key.pub").read_text().strip()
    lines = (
        "d /root/.ssh 0700 root root - -",
        f"f /root/.ssh/authorized_keys 0600 root root - {login}",
        f"f+~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {host_key}",
        f"f+ /etc/ssh/ssh_host_ed25519_key.pub 0644 root root - {public}",
    )
    own = base64.b64encode("\n".join((*lines, "")).encode()).decode()
    argv = [
        *("setpriv", "--pdeathsig", "KILL"),
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-m", "1024", "-nodefaults", "-display", "none"),
        *("-serial", f"file:{folder / name}.log", "-device", "virtio-rng-pci"),
        *("-kernel", str(image / "kernel"), "-initrd", str(image / "initrd")),
        *("-append", f"{BOOT} {boot}"),
        *("-drive", f"file={image / 'disk'},format=raw,if=none,id=root,snapshot=on,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=n,mac=52:54:00:00:01:{number:02x}"),
        *("-smbios", f"type=11,value=io.systemd.credential.binary:tmpfiles.extra={own}"),
    ]
    for disk in disks:
        file = folder / f"{name}-{disk}"
        with file.open("wb") as opened:
            opened.truncate(2 << 30)
        argv += ["-drive", f"file={file},format=raw,if=none,id={disk},cache=unsafe"]
        argv += ["-device", f"virtio-blk-pci,drive={disk},serial={disk}"]
    return argv


def answers(found: Machines, name: str) -> bool:
    """Whether a machine can be logged in to; fails when it has ended."""
    machine = found.machines[name]
    said = machine.console.read_text(errors="replace")[-2000:] if machine.console.exists() else ""
    assert machine.process.poll() is None, f"{name} ended: {said}"
    try:
        found.on(name, "true")
    except RonronError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _remove_leftovers() -> None:
    """Remove the networks of runs that were killed; their machines ended with them."""
    for link in Path("/sys/class/net").glob(f"{BRIDGE}*t*"):
        if not Path("/proc", link.name.removeprefix(BRIDGE).partition("t")[0]).exists():
            _said("ip", "link", "delete", link.name)
    for name in _said("docker", "network", "ls", "--format", "{{.Name}}").split():
        prefix, _, process = name.rpartition("-")
        if prefix == PREFIX and not Path("/proc", process).exists():
            _said("docker", "network", "rm", name)


def _said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
