"""The audit as a whole, of servers on this computer that answer as they are told."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ronron.audit.model import Audit, Finding
from ronron.audit.run import Scope, audit
from ronron.errors import ServerError
from ronron.events import ignore
from ronron.plan.session import session_over
from ronron.servers.connections import Connections
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.load import load_site

STACKS = Path(__file__).parent.parent / "stacks"
DATA = Path(__file__).parent / "audit"
OUTSIDE = Scope(inside=False, every_port=False)
INSIDE = Scope(outside=False)
SITE = """\
name: cats
domain: example.org
contact: cat@example.org
servers: {master: {roles: [manager], address: 127.0.0.1}}
"""


def server(client: str = "127.0.0.1", **seen: Any) -> RecordingRunner:
    """A server that sees the auditor at `client`, and has inside what a lab's manager has."""
    inside = {**json.loads((DATA / "manager.json").read_text()), "containers": [], **seen}

    def answer(argv: Sequence[str], _: bytes | None) -> bytes:
        return client.encode() if argv[-1] == "-" else json.dumps(inside).encode()

    return RecordingRunner("master", {"python3": answer})


class Down(RecordingRunner):
    """A server that is not reached."""

    def run(self, *_: object, **__: object) -> Any:
        raise ServerError(self.name, "no answer", remedy="look after it")


def audited(
    folder: Path, runner: RecordingRunner, scope: Scope, site: str = SITE
) -> tuple[dict[str, Finding], Audit]:
    """The findings of the site by id, and the whole audit."""
    (folder / "ronron.yml").write_text(site)
    servers = Connections({"master": runner})  # type: ignore[dict-item]
    done = audit(session_over(servers, load_site(folder), ignore), scope)
    return {one.id: one for one in done.open}, done


@pytest.mark.parametrize("scope", [OUTSIDE, INSIDE, dataclasses.replace(OUTSIDE, inside=True)])
def test_a_server_that_cannot_be_looked_at_is_a_finding(tmp_path: Path, scope: Scope) -> None:
    found, done = audited(tmp_path, Down("master"), scope)
    unseen = [one for one in done.open if one.id == "server-unseen"]
    assert len(unseen) == 1
    assert found["server-unseen"] == Finding(
        "server-unseen",
        "high",
        "server master",
        "it could not be looked at: nobody knows what is open there",
        "master: no answer",
        "look after it",
    )
    assert done.failed("medium")


def test_a_program_that_fails_on_a_server_is_a_finding(tmp_path: Path) -> None:
    runner = RecordingRunner("master", {"python3": Answer(status=1, stderr=b"no disk\n")})
    assert "server-unseen" in audited(tmp_path, runner, INSIDE)[0]


def test_a_server_without_an_address_is_a_finding(tmp_path: Path) -> None:
    site = SITE.replace("127.0.0.1", "nowhere.invalid")
    found, _ = audited(tmp_path, server(), OUTSIDE, site)
    assert "nowhere.invalid" in found["server-unseen"].evidence


def test_a_stranger_whom_ssh_does_not_let_in_may_audit_from_outside(tmp_path: Path) -> None:
    site = SITE + "firewall: {ssh_from: [192.0.2.7]}\n"
    found, done = audited(tmp_path, Down("master"), OUTSIDE, site)
    assert "server-unseen" not in found
    assert any("whether it is itself: master: no answer" in one for one in done.skipped)


def test_a_server_that_answers_from_inside_is_seen(tmp_path: Path) -> None:
    found, done = audited(tmp_path, server(), INSIDE)
    assert (found, done.skipped) == ({}, ())


@pytest.mark.parametrize(("firewall", "severity"), [("true", "low"), ("false", "medium")])
def test_what_listens_on_udp_and_is_not_declared_is_a_finding(
    tmp_path: Path, firewall: str, severity: str
) -> None:
    udp = [
        (68, "192.0.2.7%eth0", "systemd-network"),
        (4789, "*", ""),
        (5353, "192.0.2.7", "avahi-daemon"),
        (5353, "[::]", "avahi-daemon"),
        (51820, "*", ""),
    ]
    ports = "ports: [{port: 51820, protocol: udp, why: WireGuard}]"
    site = f"{SITE}firewall: {{enabled: {firewall}, {ports}}}\n"
    found, _ = audited(tmp_path, server(udp=udp), INSIDE, site)
    assert {name: one.severity for name, one in found.items()} == {"udp-undeclared-5353": severity}
    (one,) = found.values()
    assert one.where == "server master"
    assert one.evidence == "avahi-daemon on 192.0.2.7, avahi-daemon on [::]"


def granted(passwords: str, root: str) -> dict[str, dict[str, str]]:
    """What sshd says of root and another user."""
    both = {"passwordauthentication": passwords, "kbdinteractiveauthentication": "no"}
    return {user: {**both, "permitrootlogin": root} for user in ("root", "cat")}


@pytest.mark.parametrize(
    ("hardened", "passwords", "root", "found"),
    [
        ("true", "no", "without-password", set()),
        ("true", "yes", "without-password", {"ssh-passwords"}),
        ("true", "no", "yes", {"ssh-differs"}),
        ("true", "yes", "yes", {"ssh-passwords", "ssh-differs"}),
        ("false", "no", "yes", set()),
        ("false", "yes", "yes", {"ssh-passwords"}),
    ],
)
def test_what_sshd_itself_says_of_passwords_is_judged(
    tmp_path: Path, hardened: str, passwords: str, root: str, found: set[str]
) -> None:
    site = f"{SITE}hardening: {{ssh: {hardened}, ssh_users: [cat]}}\n"
    told = granted(passwords, root)
    said, done = audited(tmp_path, server(sshd=told), INSIDE, site)
    assert {name: one.severity for name, one in said.items()} == dict.fromkeys(found, "high")
    assert done.skipped == ()
    if passwords == "yes":
        assert "passwordauthentication yes for cat" in said["ssh-passwords"].evidence


def test_an_sshd_that_says_nothing_is_told(tmp_path: Path) -> None:
    found, done = audited(tmp_path, server(sshd={"root": {}}), INSIDE)
    assert (found, done.skipped) == (
        {},
        ("server master: whom SSH lets in: sshd -T says nothing",),
    )


@pytest.mark.parametrize(
    ("stack", "hosts"),
    [
        ("extra-domain", {"app.example.org", "admin.example.org"}),
        ("traefik2-hosts", {"www.example.org", "example.org"}),
    ],
)
def test_every_host_of_a_plain_stack_file_is_looked_at(
    tmp_path: Path, stack: str, hosts: set[str]
) -> None:
    """Nothing listens for HTTPS at the server's address: each host is told for that."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "stack.yml").write_text((STACKS / f"{stack}.yml").read_text())
    domain = next(host for host in hosts if host.startswith(("app.", "www.")))
    (tmp_path / "apps/app.yml").write_text(f"stack: stack.yml\ndomain: {domain}\n")
    _, done = audited(tmp_path, server(), OUTSIDE, SITE.replace("127.0.0.1", "127.83.0.1"))
    assert {one.where for one in done.open if not one.where.startswith("server ")} == hosts


def test_a_udp_port_that_is_declared_for_others_is_asked(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(20)

        def answer() -> None:
            with suppress(TimeoutError):
                _, who = listening.recvfrom(100)
                listening.sendto(b"!", who)

        thread = threading.Thread(target=answer)
        thread.start()
        number = listening.getsockname()[1]
        port = f"{{port: {number}, protocol: udp, from: [192.0.2.0/24], why: Telephony}}"
        found, _ = audited(tmp_path, server(), OUTSIDE, f"{SITE}firewall: {{ports: [{port}]}}\n")
        thread.join()
    assert f"udp/{number} answers to 127.0.0.1" in found["port-for-others-open"].evidence
