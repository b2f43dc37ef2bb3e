"""Servers that are closed, as a stranger in the lab's network and other servers see them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import Operator, eventually
from e2e.outside import APP_PORT, Stranger
from ronron import lab
from ronron.errors import OperatorError, ServerError
from ronron.servers.connections import connections
from ronron.servers.defend import guard, rules
from ronron.servers.defend.attempt import GUARD, attempt, connects
from ronron.servers.provision import leftovers
from ronron.site import yamltext
from ronron.site.load import load_site
from ronron.site.yamltext import Change

pytestmark = pytest.mark.lab

BETWEEN = {2377, 5000, 7946}
"""The database's own: what is published by mistake most often."""

OTHERS = {2049, 2375, 2376, 5432, 6379, 8001, 9100, 9323, 9428, 24007, 24008, 27017}
PORTS = sorted({*range(1, 1025), *OTHERS, *BETWEEN, APP_PORT, *range(49152, 49652)})

# Connects to each of the ports of a server and prints those that answer.
SCAN = """
import errno, json, selectors, socket, sys, time
host, ports, opened = sys.argv[1], json.loads(sys.argv[2]), []
while ports:
    some, ports = ports[:500], ports[500:]
    waiting, deadline = selectors.DefaultSelector(), time.monotonic() + 4
    for port in some:
        one = socket.socket()
        one.setblocking(False)
        if one.connect_ex((host, port)) in (0, errno.EINPROGRESS):
            waiting.register(one, selectors.EVENT_WRITE, port)
    while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            waiting.unregister(key.fileobj)
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened.append(key.data)
            key.fileobj.close()
print(json.dumps(sorted(opened)))
"""


def seen(operator: Operator, server: str) -> set[int]:
    """The ports of a server that answer a computer outside of the site."""
    argv = ["python3", "-c", SCAN, operator.lab.server(server).ip, json.dumps(PORTS)]
    status, out = lab.client(operator.lab, argv, timeout=300)
    assert status == 0, out
    return set(json.loads(out.splitlines()[-1]))


def seen_by(operator: Operator, other: str, server: str) -> set[int]:
    """The ports of a server that answer another of the site's servers."""
    ip = operator.lab.server(server).ip
    return set(json.loads(operator.on(other, "python3", "-c", SCAN, ip, json.dumps(PORTS))))


def write(operator: Operator, *keys: str, value: Any) -> None:
    path = operator.folder / "ronron.yml"
    path.write_text(yamltext.apply(path.read_text(), [Change(keys, value)], "ronron.yml"))


def place(operator: Operator, service: str = "open_web") -> str:
    """A server on which the service runs."""
    argv = ["docker", "service", "ps", service, "--filter", "desired-state=running"]
    return operator.on("manager", *argv, "--format", "{{.Node}}").partition("\n")[0]


def container(operator: Operator, server: str, service: str) -> str:
    """The id of a service's container on a server."""
    argv = ["docker", "ps", "-q", "--filter", f"name=^{service}\\."]
    return operator.on(server, *argv).partition("\n")[0]


# Prints the places that say something to who connects, or knocks: whatever is between may accept
# connections that lead nowhere.
REACH = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 3) as one:
            one.settimeout(3)
            one.sendall(b"\\r\\n\\r\\n")
            if one.recv(1):
                print(place)
    except OSError:
        pass
"""


# Prints the places that accept connections.
CONNECT = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(place)
    except OSError:
        pass
"""
LISTEN = ("python3", "-m", "http.server")


@pytest.mark.usefixtures("blog")
def test_an_app_reaches_nothing_that_is_not_its_own(opened: Operator) -> None:
    """From a container beside another app's database, on the same server. To other servers it has
    its server's address: a port for servers alone is open to that, and closed to it."""
    operator = opened
    server = place(operator, "blog_db")
    own, database = (container(operator, server, name) for name in ("open_web", "blog_db"))
    other = next(one for one in operator.lab.servers if one.name not in (server, "manager"))

    def reached(*places: str) -> list[str]:
        return operator.on(
            server, "docker", "exec", own, "python3", "-c", REACH, *places
        ).splitlines()

    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    addresses = operator.on(server, "docker", "inspect", "-f", template, database).split()
    bridge = json.loads(operator.on(server, "docker", "network", "inspect", "docker_gwbridge"))
    whole = operator.on(server, "docker", "inspect", "-f", "{{.Id}}", database)
    addresses += [bridge[0]["Containers"][whole]["IPv4Address"].partition("/")[0]]
    assert len(addresses) >= 2
    assert reached(*(f"{one}:3306" for one in (*addresses, "db", "blog_db"))) == []
    said = "head --bytes=30 < /dev/tcp/db/3306 | grep --text --count MariaDB"
    assert operator.on(server, "docker", "exec", database, "bash", "-c", said) == "1"

    # Docker's own socket, on no network and in no folder.
    places = [f"{one.ip}:{port}" for one in operator.lab.servers for port in (2375, 2376)]
    assert reached(*places, "socket-proxy:2375", "socket-proxy_socket-proxy:2375") == []
    sockets = "find / -xdev -name docker.sock 2> /dev/null || true"
    assert operator.on(server, "docker", "exec", own, "sh", "-c", sockets) == ""

    # The registry answers to nobody without a certificate of the site's.
    push = (
        "import http.client, ssl, sys\n"
        "context = ssl._create_unverified_context()\n"
        "connection = http.client.HTTPSConnection(sys.argv[1], 5000, timeout=5, context=context)\n"
        "try:\n"
        "    connection.request('POST', '/v2/evil/blobs/uploads/')\n"
        "    print(connection.getresponse().status)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )
    registry = operator.lab.server("manager").ip
    said = operator.on(server, "docker", "exec", own, "python3", "-c", push, registry)
    # On the registry's own server the firewall has it first.
    assert said in ("SSLError", "ConnectionResetError", "TimeoutError"), said

    # What is between servers: the swarm's ports, storage (another program stands for it), and SSH.
    manager = operator.lab.server("manager").ip
    between = [(other.ip, 22), (other.ip, 7946), (other.ip, 2049), (manager, 2377), (manager, 7946)]
    operator.on(other.name, "systemd-run", "--unit", "stands-for-nfs", *LISTEN, "2049")
    before = (operator.folder / "ronron.yml").read_text()
    declared = {"port": 2049, "servers": [other.name], "why": "as NFS"}
    own_ips = [one.ip for one in operator.lab.servers]
    write(operator, "firewall", "ports", value=[{**declared, "from": own_ips}])
    try:
        operator.ronron("apply", "--yes")
        connected = [f"{ip}:{port}" for ip, port in between]
        assert operator.on(server, "python3", "-c", CONNECT, *connected).split() == connected
        call = ("docker", "exec", own, "python3", "-c", CONNECT)
        own_ip = operator.lab.server(server).ip
        tried = (*connected, f"{own_ip}:2377", f"{own_ip}:7946", f"{manager}:443")
        assert operator.on(server, *call, *tried).split() == [f"{manager}:443"]
    finally:
        operator.on(other.name, "systemctl", "stop", "stands-for-nfs")
        (operator.folder / "ronron.yml").write_text(before)
        operator.ronron("apply", "--yes")

    # The provider's metadata: another server stands for them, and for what answers there.
    metadata = "169.254.169.254"
    operator.on(other.name, "ip", "address", "add", f"{metadata}/32", "dev", "lo")
    operator.on(server, "ip", "route", "add", metadata, "via", other.ip)
    try:
        here = operator.on(server, "python3", "-c", REACH, f"{metadata}:22")
        assert here == f"{metadata}:22"
        assert reached(f"{metadata}:22") == []
    finally:
        operator.on(server, "ip", "route", "del", metadata)
        operator.on(other.name, "ip", "address", "del", f"{metadata}/32", "dev", "lo")


def test_a_stranger_finds_the_web_and_ssh_and_a_server_what_servers_need(
    operator: Operator,
) -> None:
    assert seen(operator, "manager") == {22, 80, 443}
    assert seen(operator, "worker-1") == {22}
    assert seen_by(operator, "worker-1", "manager") == {22, 80, 443, *BETWEEN}
    assert seen_by(operator, "worker-1", "worker-2") == {22, 7946}
    assert operator.plan() == []


def test_a_published_port_is_closed_until_the_app_declares_it(opened: Operator) -> None:
    operator = opened
    here = "import socket; socket.create_connection(('127.0.0.1', %d), 5)"
    server = place(operator)
    usual = {22, 80, 443} if server == "manager" else {22}
    operator.on(server, "python3", "-c", here % APP_PORT)  # it is published
    assert seen(operator, server) == usual
    app = operator.folder / "apps" / "open.yml"
    text = app.read_text()
    app.write_text(text + f"published_ports: [{{port: {APP_PORT}, why: to be seen}}]\n")
    changes = operator.plan()
    assert {(one["where"], one["field"], one["after"]) for one in changes} == {
        (f"server {server.name}", f"port tcp/{APP_PORT}", "from any: app open: to be seen")
        for server in operator.lab.servers
    }
    operator.ronron("apply", "--yes")
    assert seen(operator, server) == usual | {APP_PORT}
    assert operator.plan() == []
    app.write_text(text)
    operator.ronron("apply", "--yes")
    assert seen(operator, server) == usual


ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    said, who = server.recvfrom(100)
    server.sendto(said, who)
"""
CALL = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(3)
one.sendto(b"hi", (sys.argv[1], int(sys.argv[2])))
one.recvfrom(2)
"""


def test_a_udp_port_is_closed_until_it_is_declared(operator: Operator, stranger: Stranger) -> None:
    name, ip, port = "worker-1", operator.lab.server("worker-1").ip, "5999"
    before = (operator.folder / "ronron.yml").read_text()
    operator.on(name, "systemd-run", "--unit", "echo", "python3", "-c", ECHO, port)
    call = ("python3", "-c", CALL, ip, port)
    listening = ("ss", "-Hlun", f"sport = :{port}")
    try:
        eventually(lambda: operator.on(name, *listening))
        operator.on(name, *call)
        assert stranger.run(*call).returncode != 0
        declared = [{"port": int(port), "protocol": "udp", "servers": [name], "why": "to be heard"}]
        write(operator, "firewall", "ports", value=declared)
        operator.ronron("apply", "--yes")
        assert stranger.run(*call).returncode == 0
    finally:
        operator.on(name, "systemctl", "stop", "echo")
        (operator.folder / "ronron.yml").write_text(before)
        operator.ronron("apply", "--yes")


def test_a_restart_of_docker_opens_nothing(opened: Operator) -> None:
    operator, stopped = opened, "worker-1"
    # As Docker leaves it at times: then it creates no interface of that number any more.
    number = "com.docker.network.driver.overlay.vxlanid_list"
    template = f'{{{{index .Options "{number}"}}}}'
    id = operator.on("manager", "docker", "network", "inspect", "ronron_proxy", "-f", template)
    operator.on(stopped, "systemctl", "stop", "docker.socket", "docker")
    operator.on(stopped, "sh", leftovers.PROGRAM)  # it always leaves some
    link = ("ip", "link", "add", "vx-00ffff-stale", "type", "vxlan", "id", id, "dstport", "4789")
    operator.on(stopped, *link)
    operator.on(stopped, "systemctl", "start", "docker")
    healthy = ("docker", "ps", "-q", "--filter", "name=open_web", "--filter", "health=healthy")
    eventually(lambda: operator.on(stopped, *healthy), 300)
    assert seen(operator, stopped) == {22}
    assert eventually(lambda: operator.plan() == [], 120)


def test_security_upgrades_are_installed_by_themselves(operator: Operator) -> None:
    for server in operator.lab.servers:
        settings = operator.on(server.name, "apt-config", "dump").splitlines()
        assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
        assert 'Unattended-Upgrade::Package-Blacklist:: "^docker";' in settings
        assert any("-Security" in one for one in settings if "Origins-Pattern" in one)
        timer = ("systemctl", "is-enabled", "apt-daily-upgrade.timer")
        assert operator.on(server.name, *timer) == "enabled"


def test_a_server_is_drained_restarts_and_is_as_closed_as_before(operator: Operator) -> None:
    name = "worker-2"

    def node(field: str) -> str:
        return operator.on("manager", "docker", "node", "inspect", name, "-f", field)

    def ended() -> bool:
        argv = ["docker", "inspect", "-f", "{{.State.Running}}"]
        argv.append(operator.lab.server(name).container)
        return subprocess.check_output(argv, text=True).strip() == "false"

    for server in operator.lab.servers:
        operator.on(server.name, "rm", "-f", "/run/reboot-required")
    assert "no server wants" in operator.ronron("server", "restart", "--needed", "--yes")[1]
    operator.on(name, "touch", "/run/reboot-required")
    process = operator.start("server", "restart", "--needed", "--yes")
    try:
        # A lab's server that restarts ends; its computer starts it again.
        eventually(ended, 240)
        assert node("{{.Spec.Availability}}") == "drain"
    finally:
        lab.start_server(operator.lab, name)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert f"{name} is back" in out
    assert node("{{.Spec.Availability}}") == "active"
    assert eventually(lambda: node("{{.Status.State}}") == "ready", 120)
    assert seen(operator, name) == {22}
    assert eventually(lambda: operator.plan() == [], 120)


def test_a_manager_that_locks_itself_is_unlocked_with_the_vaults_key(operator: Operator) -> None:
    state = ("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")
    before = (operator.folder / "ronron.yml").read_text()
    write(operator, "docker", "autolock", value=True)
    try:
        assert [(c["field"], c["before"], c["after"]) for c in operator.plan()] == [
            ("autolock", "off", "on")
        ]
        operator.ronron("apply", "--yes")
        assert operator.plan() == []
        key = operator.on("manager", "docker", "swarm", "unlock-key", "--quiet")
        shown, _ = operator.ronron("secrets", "show", "swarm", "unlock_key", "--reveal")
        assert shown.strip() == key
        operator.on("manager", "systemctl", "restart", "docker")
        assert operator.on("manager", *state) == "locked"
        _, err = operator.ronron("apply", "--yes", status=1)
        assert "its part of the swarm is locked" in err
        assert "ronron server unlock" in err
        assert operator.ronron("server", "unlock")[0] == "unlocked: manager\n"
        assert operator.on("manager", *state) == "active"
        assert operator.ronron("server", "unlock")[0] == "none is locked\n"
        assert eventually(lambda: operator.plan() == [], 120)
    finally:
        (operator.folder / "ronron.yml").write_text(before)
        operator.ronron("server", "unlock")
        operator.ronron("apply", "--yes")
    operator.on("manager", "systemctl", "restart", "docker")
    assert operator.on("manager", *state) in ("active", "pending")
    assert eventually(lambda: operator.plan() == [], 240)
    assert eventually(lambda: seen(operator, "manager") == {22, 80, 443}, 240)


def test_rules_changed_by_hand_are_seen_and_put_right(operator: Operator) -> None:
    operator.on("worker-2", "nft", "add", "rule", *rules.TABLE.split(), "input", "accept")
    (change,) = operator.plan()
    assert (change["where"], change["why"]) == ("server worker-2", "changed by hand")
    operator.ronron("apply", "--yes")
    assert operator.plan() == []


def test_rules_that_lock_everybody_out_undo_themselves(operator: Operator) -> None:
    broken = rules.ruleset((), (), (), bans=True)  # nothing at all is open
    with connections(load_site(operator.folder)) as opened:
        runner = opened["worker-2"]
        with pytest.raises(ServerError, match="would have locked you out; they were undone"):
            attempt(runner, {rules.FILE: broken})
        connects(runner)
        with pytest.raises(ServerError, match="refused its new firewall") as error:
            attempt(runner, {rules.FILE: "table inet ronron { chain"})
        assert "syntax error" in "\n".join(error.value.details)
        # As if the operator's computer had gone: nobody confirms, nobody undoes.
        order = json.dumps({rules.FILE: broken}).encode()
        runner.run(["python3", GUARD, "try", "10"], stdin=order)
        # And at first the server cannot load what was there before.
        nft = guard.NFT
        runner.run(["mount", "--bind", "/bin/false", nft])
        tries = ["systemctl", "show", "--property", "NRestarts", "--value", f"{guard.UNIT}.service"]
        try:
            assert eventually(lambda: int(runner.run(tries).text) > 0, 60)
        finally:
            runner.run(["umount", nft])

        def connects_again() -> bool:
            try:
                connects(runner)
            except (OperatorError, ServerError):
                return False
            return True

        assert eventually(connects_again, 120)
    assert operator.plan() == []


def test_an_allow_list_without_the_operator_is_refused(operator: Operator) -> None:
    before = (operator.folder / "ronron.yml").read_text()
    write(operator, "firewall", "ssh_from", value=["192.0.2.0/24"])
    try:
        _, err = operator.ronron("plan", status=2)
    finally:
        (operator.folder / "ronron.yml").write_text(before)
    assert "you would lock yourself out" in err


@pytest.fixture
def trusted(operator: Operator) -> Iterator[Operator]:
    """The operator's own address is one that the servers trust."""
    before = (operator.folder / "ronron.yml").read_text()
    gateway = operator.on("manager", "ip", "route", "show", "default").split()[2]
    write(operator, "firewall", "trusted", value=[gateway])
    operator.ronron("apply", "--yes")
    yield operator
    (operator.folder / "ronron.yml").write_text(before)
    operator.ronron("apply", "--yes")


def test_ssh_passes_the_policy_for_debian_13_and_trusts_who_audits_it(trusted: Operator) -> None:
    """So many connections without a login would keep anybody else out for a while."""
    audit = str(Path(sys.executable).with_name("ssh-audit"))
    for server in ("manager", "worker-1"):
        argv = [audit, "--policy", "Hardened Debian 13 (version 1)", trusted.lab.server(server).ip]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout
    assert trusted.plan() == []
