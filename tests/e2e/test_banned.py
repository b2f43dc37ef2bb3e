"""Who is banned from the servers, by what he does there, and let in again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.cloud import Operator, eventually
from e2e.outside import APP_PORT, Stranger
from ronron.servers.defend.fail2ban import KNOWN

pytestmark = pytest.mark.lab

SIX, MANAGER6 = "fd00:77::2", "fd00:77::1"
"""Addresses of who comes by IPv6, and of the manager there."""
WIRE = f"""\
ip netns add six
ip link add six0 type veth peer name six1 netns six
ip address add {MANAGER6}/64 dev six0 nodad
ip link set six0 up
ip -n six address add {SIX}/64 dev six1 nodad
ip -n six link set six1 up
"""


@pytest.fixture
def far(operator: Operator) -> Iterator[Stranger]:
    """A computer that comes to the manager by IPv6: the lab's own network has none."""
    operator.on("manager", "sh", "-ec", WIRE)
    enter = (operator.lab.server("manager").container, "ip", "netns", "exec", "six")
    try:
        yield Stranger(enter, SIX)
        operator.ronron("bans", "lift", SIX)
    finally:
        operator.on("manager", "ip", "netns", "delete", "six")


def bans(operator: Operator) -> set[tuple[str, str]]:
    out, _ = operator.ronron("bans", "list", "--json")
    return {(ban["jail"], ban["address"]) for ban in json.loads(out)["bans"]}


def test_servers_and_who_logs_in_by_key_are_never_banned(
    operator: Operator, stranger: Stranger
) -> None:
    def known(address: str) -> bool:
        answer = operator.on("manager", "sh", "-c", f"{KNOWN} {address} && echo yes || echo no")
        return answer == "yes"

    assert known(operator.on("manager", "ip", "route", "show", "default").split()[2])
    # Nobody logs in on the manager from there; its second address has no name.
    second = "192.0.2.77"
    operator.on("worker-1", "ip", "address", "add", f"{second}/32", "dev", "eth0")
    try:
        assert not known(second)
        operator.ronron("apply", "--yes")
        assert known(second)
        assert known(operator.lab.server("worker-1").ip)
    finally:
        operator.on("worker-1", "ip", "address", "del", f"{second}/32", "dev", "eth0")
        operator.ronron("apply", "--yes")
    assert not known(stranger.address)
    assert not known(second)


# Connects again and again for a quarter of a minute, and prints how often it could.
KNOCK = """
import socket, sys, time
count, end = 0, time.monotonic() + 15
while count < 400 and time.monotonic() < end:
    try:
        socket.create_connection((sys.argv[1], 22), 1).close()
        count += 1
    except OSError:
        pass
print(count)
"""


def test_who_connects_to_ssh_too_often_is_held_off(operator: Operator, stranger: Stranger) -> None:
    ip = operator.lab.server("worker-2").ip
    try:
        # A hundred at once, and one a second.
        assert 50 < int(stranger.run("python3", "-c", KNOCK, ip).stdout) < 130
        assert stranger.reaches(operator.lab.server("worker-1").ip, 22)
        # The site's own servers are not counted.
        assert int(operator.on("worker-1", "python3", "-c", KNOCK, ip)) > 150
    finally:
        operator.on("worker-2", "nft", "flush", "set", "inet", "ronron", "ssh4")
    assert stranger.reaches(ip, 22)
    # sshd drops others, by chance, until it is done with all of these.
    eventually(lambda: " 0 of " in operator.on("worker-2", "ps", "-C", "sshd", "-o", "args="))


def test_who_tries_to_log_in_is_banned_and_let_in_again(
    operator: Operator, stranger: Stranger
) -> None:
    ip = operator.lab.server("manager").ip
    assert stranger.reaches(ip, 443)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    # A ban also cuts the connection that is open: ssh itself would wait for it.
    guess = ["timeout", "10", "ssh", *options, f"admin@{ip}", "true"]
    eventually(lambda: stranger.run(*guess) and not stranger.reaches(ip, 443), 60)
    assert ("sshd", stranger.address) in bans(operator)
    assert "lifted on manager" in operator.ronron("bans", "lift", stranger.address)[0]
    assert stranger.reaches(ip, 443)
    assert stranger.address not in {address for _, address in bans(operator)}
    assert operator.plan() == []


# Asks the app at an address with a login.
GUESS = """
import base64, http.client, socket, ssl, sys
ip, name, login = sys.argv[1:]
header = "Basic " + base64.b64encode(login.encode()).decode()
context = ssl._create_unverified_context()
raw = socket.create_connection((ip, 443), 5)
connection = http.client.HTTPSConnection(name, context=context)
connection.sock = context.wrap_socket(raw, server_hostname=name)
connection.request("GET", "/", headers={"Authorization": header})
print(connection.getresponse().status)
"""


def test_who_tries_an_app_s_passwords_is_banned_and_let_in_again(
    opened: Operator, stranger: Stranger
) -> None:
    operator = opened
    ip, name = operator.lab.server("manager").ip, f"open.{operator.lab.domain}"
    ask = ("python3", "-c", GUESS, ip, name)
    shown, _ = operator.ronron("secrets", "show", "open", "access_cat", "--reveal")
    password = shown.strip()
    assert stranger.run(*ask, f"cat:{password}").stdout.strip() == "200"
    for _ in range(5):
        assert stranger.run(*ask, "cat:woof").stdout.strip() == "401"
    eventually(lambda: stranger.run(*ask, "cat:woof").returncode, 30)
    assert ("ronron-proxy", stranger.address) in bans(operator)
    assert not stranger.reaches(ip, 22)
    # Another rule bans as well, and ends first.
    for what in ("banip", "unbanip"):
        operator.on("manager", "fail2ban-client", "set", "sshd", what, stranger.address)
    assert ("ronron-proxy", stranger.address) in bans(operator)
    assert not stranger.reaches(ip, 22)
    operator.ronron("bans", "lift", stranger.address)
    assert stranger.run(*ask, f"cat:{password}").stdout.strip() == "200"


def test_who_comes_by_ipv6_is_known_and_banned_alone(
    opened: Operator, stranger: Stranger, far: Stranger
) -> None:
    operator = opened
    name = f"open.{operator.lab.domain}"
    ask = ("python3", "-c", GUESS, MANAGER6, name)
    password = operator.ronron("secrets", "show", "open", "access_cat", "--reveal")[0].strip()
    assert far.run(*ask, f"cat:{password}").stdout.strip() == "200"
    out, _ = operator.ronron("logs", "--access", "open", "--since", "5m", "--json")
    assert SIX in {json.loads(line)["client"] for line in out.splitlines()}
    # What is published and not declared is as closed as by IPv4.
    assert not far.reaches(MANAGER6, APP_PORT)
    assert far.reaches(MANAGER6, 22)

    eventually(lambda: far.run(*ask, "cat:woof").returncode, 120)
    assert ("ronron-proxy", SIX) in bans(operator)
    assert not far.reaches(MANAGER6, 443)
    assert not far.reaches(MANAGER6, 22)
    ip = operator.lab.server("manager").ip
    four = ("python3", "-c", GUESS, ip, name)
    assert stranger.run(*four, f"cat:{password}").stdout.strip() == "200"
    assert "lifted on manager" in operator.ronron("bans", "lift", SIX)[0]
    assert far.run(*ask, f"cat:{password}").stdout.strip() == "200"

    # An allow-list knows it, too.
    app = operator.folder / "apps" / "open.yml"
    text = app.read_text()
    app.write_text(text.replace("users: [cat]", f'addresses: ["{SIX}"]'))
    try:
        operator.ronron("apply", "--yes")
        eventually(lambda: far.run(*ask, "cat:woof").stdout.strip() == "200", 30)
        assert stranger.run(*four, "cat:woof").stdout.strip() == "403"
    finally:
        app.write_text(text)
        operator.ronron("apply", "--yes")
    assert operator.plan() == []
