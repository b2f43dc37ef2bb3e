"""A whole site on Debian's own kernel, closed as docs/hardening.md says."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import struct
from collections.abc import Iterator

import pytest

from ronron.audit import scan
from ronron.catalog.recipe import builtin_folder
from ronron.catalog.stack import PLATFORM, SHARED, VOLUMES
from ronron.servers.defend import kernel
from ronron.site.create import init_site
from ronron.site.userns import data_folder
from vm.machines import Machines, answers, eventually, image, machines, possible

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not possible(), reason="needs root, QEMU and mmdebstrap: scripts/machines"),
]

SAID = "what the services say to each other"
OPENED, CLOSED = 2222, 3306
"""Ports that the app publishes: one is declared, the other is not."""

ALIVE = 'test: [CMD, /bin/busybox, "true"], interval: 60s, start_period: 60s, start_interval: 5s'
STACK = f"""\
x-ronron:
  title: Talk
  license: AGPL-3.0-or-later
  published_ports: To be seen from outside.
  volumes: {{words: {{class: files, uid: 65534, gid: 65534, mode: "0700"}}}}
services:
  hear:
    image: box:1.0
    build: .
    command:
      - /bin/busybox
      - sh
      - -c
      - /bin/busybox httpd -h /said -p 8081; exec /bin/busybox httpd -f -h /said -p 8080
    configs: [{{source: said, target: /said/index.html}}]
    ports:
      - {{target: 8080, published: {OPENED}, protocol: tcp, mode: host}}
      - {{target: 8081, published: {CLOSED}, protocol: tcp, mode: host}}
    healthcheck: {{{ALIVE}}}
    deploy:
      placement: {{constraints: [node.hostname == worker]}}
      resources: {{limits: {{memory: 32M}}}}
  say:
    image: box:1.0
    build: .
    command:
      - /bin/busybox
      - sh
      - -c
      - |
        while /bin/busybox sleep 1; do
            /bin/busybox wget -q -O - http://hear:8080/ | /bin/busybox tee -a /words/heard
        done
    user: "65534:65534"
    volumes: ["words:/words"]
    healthcheck: {{{ALIVE}}}
    deploy:
      placement: {{constraints: [node.hostname == manager]}}
      resources: {{limits: {{memory: 32M}}}}
configs: {{said: {{file: ./said}}}}
volumes: {{words: {{}}}}
"""
APP = f"""\
recipe: talk
published_ports: [{{port: {OPENED}, why: to be seen}}]
"""


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two servers that ronron has never seen, and a site that declares them and an app."""
    folder = tmp_path_factory.mktemp("machines")
    with machines(folder, {"manager": (), "worker": ()}, processors=2) as found:
        (folder / "ronron.yml").unlink()
        init_site(
            folder, name="machines", domain="example.org", contact="admin@example.org",
            key=found.vault_key,
        )  # fmt: skip
        found.site()
        recipe = folder / "recipes" / "talk"
        recipe.mkdir()
        shutil.copy(image() / "busybox", recipe)
        (recipe / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\n")
        (recipe / "said").write_text(SAID + "\n")
        (recipe / "stack.yml").write_text(STACK)
        (folder / "apps" / "talk.yml").write_text(APP)
        for name in PLATFORM:
            # The same, but for their health checks: under emulation each takes seconds.
            own = folder / "recipes" / name
            shutil.copytree(builtin_folder() / name, own)
            stack = (own / "stack.yml").read_text().replace("  verified: run\n", "")
            for often, seldom in (("timeout: 3s", 60), ("interval: 10s", 60), ("500ms", 5)):
                stack = stack.replace(often, f"{often.rpartition(' ')[0]} {seldom}s".strip())
            (own / "stack.yml").write_text(stack)
        yield found


@pytest.fixture(scope="module")
def applied(unknown: Machines) -> Machines:
    unknown.ronron("apply", "--yes")
    return unknown


def changes(machine: Machines) -> list[object]:
    found: list[object] = json.loads(machine.ronron("plan", "--json"))["changes"]
    return found


def container(machine: Machines, service: str, server: str) -> str:
    """The running container of a service there."""
    names = ("docker", "ps", "--quiet", "--filter", f"name=talk_{service}.")
    return eventually(lambda: machine.on(server, *names).strip(), 300)


def test_a_second_apply_changes_nothing(applied: Machines) -> None:
    assert changes(applied) == []


def test_containers_run_under_apparmor(applied: Machines) -> None:
    loaded = applied.on("worker", "cat", "/sys/kernel/security/apparmor/profiles")
    assert "docker-default (enforce)" in loaded.splitlines()
    form = ("docker", "inspect", "--format", "{{.State.Pid}}", container(applied, "hear", "worker"))
    process = applied.on("worker", *form).strip()
    under = applied.on("worker", "cat", f"/proc/{process}/attr/current")
    assert under.strip() == "docker-default (enforce)"


def test_kernel_and_limits_are_as_written(applied: Machines) -> None:
    for server in applied.machines:
        read = applied.on(server, "sysctl", "-n", *kernel.SYSCTL).split()
        assert dict(zip(kernel.SYSCTL, map(int, read), strict=True)) == kernel.SYSCTL
        assert applied.on(server, "sh", "-c", "ulimit -H -c").strip() == "0"


def test_who_changes_accounts_or_ssh_is_written_down(applied: Machines) -> None:
    assert rules(applied, "manager") == rules(applied, "worker") == RULES
    applied.on("worker", "touch", "/etc/passwd")
    applied.on("worker", "chmod", "600", "/etc/ssh/sshd_config")
    for key, program in (("identity", "touch"), ("ssh", "chmod")):
        # Without a terminal it would read its standard input.
        search = ("sh", "-c", f"ausearch --input-logs --key {key} --comm {program} --raw || :")
        eventually(functools.partial(applied.on, "worker", *search), 60)


RULES = {
    line.replace("/ -p", " -p")
    for line in kernel.audit(data_folder(0)).splitlines()
    if line.startswith("-w")
}


def rules(machine: Machines, server: str) -> set[str]:
    """The kernel's rules for files, as the file that they come from has them."""
    listed = machine.on(server, "auditctl", "-l").splitlines()
    return {line for line in listed if line.startswith("-w")}


def test_between_servers_nothing_is_said_in_clear(applied: Machines) -> None:
    own = ("docker", "logs", container(applied, "say", "manager"))
    before = eventually(lambda: applied.on("manager", *own).count(SAID), 300)
    both = [socket.inet_aton(one.address) for one in applied.machines.values()]
    esp = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)) as wire:
        wire.bind((applied.machines["worker"].tap, 0))
        wire.settimeout(120)
        while esp < 40:
            frame = wire.recv(65536)
            assert SAID.encode() not in frame
            if frame[12:14] == b"\x08\x00" and frame[26:30] in both and frame[30:34] in both:
                esp += frame[23] == socket.IPPROTO_ESP
                assert not (frame[23] == socket.IPPROTO_UDP and udp_port(frame) == 4789)
    after = applied.on("manager", *own).count(SAID)
    assert after > before


def udp_port(frame: bytes) -> int:
    """The port that a frame with IPv4 and UDP goes to."""
    at = 14 + (frame[14] & 15) * 4
    port: int = struct.unpack_from(">H", frame, at + 2)[0]
    return port


def open_ports(machine: Machines, server: str) -> dict[str, set[int]]:
    """The TCP ports of a server that answer the operator's computer, by its address."""
    one = machine.machines[server]
    return {to: set(scan.tcp(to, scan.COMMON_TCP)) for to in (one.address, one.address6)}


def declared(machine: Machines) -> None:
    """By IPv4 and IPv6, what is declared is open to strangers, and nothing else."""
    wanted = {"manager": {22, 80, 443}, "worker": {22, OPENED}}
    found = {name: open_ports(machine, name) for name in machine.machines}
    for name, ports in wanted.items():
        own = machine.machines[name]
        assert found[name] == {own.address: ports, own.address6: ports}


def test_the_same_ports_are_open_by_ipv4_and_ipv6(applied: Machines) -> None:
    container(applied, "hear", "worker")
    here = "import socket; socket.create_connection((%r, %d), 5)"
    for host in ("127.0.0.1", "::1"):  # it is published
        applied.on("worker", "python3", "-c", here % (host, CLOSED))
    declared(applied)


def moved(machine: Machines, before: str, after: str, settings: str) -> None:
    """With other `settings` the app's files are brought from one folder to another, and kept."""
    machine.site(settings)
    shown = json.loads(machine.ronron("plan", "--json"))["changes"]
    (change,) = (one for one in shown if one["field"] == "volumes.words")
    assert change["before"].endswith(f"{before}/talk/words")
    assert change["after"].endswith(f"{after}/talk/words")
    machine.ronron("apply", "--yes")
    (old,) = machine.on("manager", "sh", "-c", f"ls -d {before}/.moved/talk-*/words").split()
    new = f"{after}/talk/words"
    script = 'size=$(stat -c %s "$1/heard") && [ "$size" -gt 0 ] && cmp -n "$size" "$1/heard" "$2"'
    machine.on("manager", "sh", "-c", script, "sh", old, f"{new}/heard")
    assert machine.on("manager", "stat", "-c", "%a %u %g", new).split() == ["700", "65534", "65534"]
    size = ("stat", "-c", "%s", f"{new}/heard")
    first = machine.on("manager", *size)
    eventually(lambda: machine.on("manager", *size) != first, 300)
    assert changes(machine) == []


def test_files_are_brought_to_nfs_and_back(applied: Machines) -> None:
    moved(applied, VOLUMES, SHARED, "storage: {shared: nfs}\n")
    kind = applied.on("worker", "stat", "-f", "-c", "%T", f"{SHARED}/talk/words/heard")
    assert kind.strip() == "nfs"
    moved(applied, SHARED, VOLUMES, "")


def test_after_a_restart_everything_is_closed_again(applied: Machines) -> None:
    boot = ("cat", "/proc/sys/kernel/random/boot_id")
    before = applied.on("worker", *boot)
    applied.ronron("server", "restart", "worker", "--yes")
    eventually(lambda: answers(applied, "worker"), 600)
    assert applied.on("worker", *boot) != before
    assert rules(applied, "worker") == RULES
    container(applied, "hear", "worker")
    declared(applied)
    assert changes(applied) == []


def test_lynis_finds_a_hardened_system(
    applied: Machines, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    if not pytestconfig.getoption("--all"):
        pytest.skip("lynis takes ten minutes under emulation: make test-all")
    # Every root certificate would be asked of dpkg, and every program looked for by the plugin.
    applied.on("worker", "sh", "-c", "echo skip-test=CRYP-7902 >/etc/lynis/custom.prf")
    applied.on("worker", *LYNIS, seconds=3000)
    report = applied.on("worker", "cat", "/var/log/lynis-report.dat")
    found = dict(line.split("=", 1) for line in report.splitlines() if "=" in line)
    with capsys.disabled():
        print(f"\nlynis' hardening index: {found['hardening_index']}")
    assert int(found["hardening_index"]) >= LEAST


LYNIS = ("lynis", "audit", "system", "--quick", "--quiet", "--no-colors", "--no-plugins")
LEAST = 80
