"""From bare servers to provisioned ones, over real SSH, and everything that can be in the way."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ronron import lab
from ronron.errors import RonronError, ServerError
from ronron.events import Event, State
from ronron.lab import Lab
from ronron.servers.check import check
from ronron.servers.connections import Connections, connections, connections_to, key_file
from ronron.servers.facts import Query, facts
from ronron.servers.hostkeys import pin, pinned, scan_host_keys
from ronron.servers.playbooks import run_playbooks
from ronron.servers.provision.model import ProvisioningPlan, RegistryAccess
from ronron.servers.provision.run import apply_provisioning, plan_provisioning
from ronron.site.load import LoadedSite, load_site

PREFIX = "provisiontest"
NAME = f"{PREFIX}-{os.getpid()}"
SERVERS = ("manager", "worker-1", "worker-2")
ACCESS = RegistryAccess("registry.ronron.internal:5000", "the CA", "the certificate", "PRIVATE")

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def cloud() -> Iterator[Lab]:
    """Three bare servers of this module's own."""
    for name in lab.names():
        prefix, _, process = name.partition("-")
        if prefix == PREFIX and not Path("/proc", process).exists():
            lab.down(name, keep_images=True)
    try:
        yield lab.up(NAME, 3)
    finally:
        lab.down(NAME, keep_images=True)


def write_site(
    folder: Path, cloud: Lab, *, user: str = "root", more: str = "", encrypted: bool = False
) -> LoadedSite:
    folder.mkdir(exist_ok=True)
    lines = [
        "name: provisioned",
        f"domain: {cloud.domain}",
        "contact: admin@example.org",
        f"resolver: {cloud.resolver}",
        f"ssh: {{key: {cloud.ssh_key}}}",
        f"network: {{encrypted: {str(encrypted).lower()}}}",
        "servers:",
    ]
    for server in cloud.servers:
        roles = "[manager, worker]" if server.name == "manager" else "[worker]"
        lines.append(
            f"  {server.name}: {{address: {server.address}, roles: {roles}, user: {user}}}"
        )
        assert server.host_key
        pin(folder / "known_hosts", server.name, [server.host_key])
    (folder / "ronron.yml").write_text("\n".join(lines) + "\n" + more)
    return load_site(folder)


@pytest.fixture(scope="module")
def site(cloud: Lab, tmp_path_factory: pytest.TempPathFactory) -> LoadedSite:
    return write_site(tmp_path_factory.mktemp("site") / "my site", cloud)


@pytest.fixture
def servers(site: LoadedSite) -> Iterator[Connections]:
    with connections(site) as opened:
        yield opened


@pytest.fixture(scope="module")
def provisioned(site: LoadedSite) -> tuple[ProvisioningPlan, ProvisioningPlan, list[Event]]:
    """What was planned for the bare servers, what was applied, and the events of it."""
    events: list[Event] = []
    with connections(site) as opened:
        planned = plan_provisioning(site, opened, ACCESS)
        return planned, apply_provisioning(site, opened, ACCESS, events.append), events


def changes(plan: ProvisioningPlan) -> list[tuple[str, str, str, str]]:
    assert plan.failures == ()
    return [(one.server, one.item, one.before, one.after) for one in plan.changes]


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    from threading import Event as Waiter

    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        Waiter().wait(0.2)
    return True


def test_bare_servers_are_provisioned_together(
    provisioned: tuple[ProvisioningPlan, ProvisioningPlan, list[Event]], servers: Connections
) -> None:
    planned, applied, events = provisioned
    assert planned == applied
    for name in SERVERS:
        items = {item for server, item, _, _ in changes(applied) if server == name}
        assert {"/etc/hosts", "/etc/docker/daemon.json", "package docker.io"} <= items
        assert {"service docker", "/srv/ronron/volumes", "package unattended-upgrades"} <= items
        assert f"/etc/docker/certs.d/{ACCESS.registry}/client.key" in items
    assert {event.where for event in events if event.state is State.DONE} == set(SERVERS)
    assert not any(event.state is State.FAILED for event in events)

    for name, runner in servers.items():
        assert runner.run(["hostname"]).text == name
        info = runner.run(["docker", "info", "--format", "{{.LoggingDriver}}"])
        assert info.text == "journald"
        held = runner.run(["apt-config", "dump", "Unattended-Upgrade::Package-Blacklist"]).text
        assert '"^docker"' in held
        enabled = ["systemctl", "is-enabled", "docker", "systemd-timesyncd"]
        assert runner.run(enabled).text.split() == ["enabled", "enabled"]
        modes = ["stat", "-c", "%a %U", "/srv/ronron/volumes"]
        assert runner.run(modes).text == "711 root"


def test_servers_find_each_other_and_the_registry_by_name(
    provisioned: object, servers: Connections, cloud: Lab
) -> None:
    for runner in servers.values():
        for server in cloud.servers:
            for name in (server.name, server.address):
                found = runner.run(["getent", "ahostsv4", name]).text.split()[0]
                assert found == server.ip
        hosted = runner.run(["getent", "hosts", "registry.ronron.internal"]).text.split()[0]
        assert hosted == cloud.server("manager").ip


def test_the_registry_key_is_roots_alone_and_shown_nowhere(
    provisioned: tuple[ProvisioningPlan, ProvisioningPlan, list[Event]], servers: Connections
) -> None:
    path = f"/etc/docker/certs.d/{ACCESS.registry}/client.key"
    for runner in servers.values():
        assert runner.run(["cat", path]).text == "PRIVATE"
        assert runner.run(["stat", "-c", "%a %U", path]).text == "600 root"
        assert "PRIVATE" not in runner.run(["journalctl", "--no-pager", "--quiet"]).text
    assert "PRIVATE" not in repr(provisioned)


def test_the_second_time_changes_nothing(
    provisioned: object, site: LoadedSite, servers: Connections
) -> None:
    events: list[Event] = []
    assert changes(plan_provisioning(site, servers, ACCESS)) == []
    assert changes(apply_provisioning(site, servers, ACCESS, events.append)) == []
    assert events == []


def test_drift_is_shown_exactly_and_repaired(
    provisioned: object, site: LoadedSite, servers: Connections
) -> None:
    runner = servers["worker-1"]
    runner.run(["sed", "-i", 's/"journald"/"json-file"/', "/etc/docker/daemon.json"])
    runner.run(["hostname", "renamed"])
    runner.run(["sed", "-i", "s/ worker-2$/ impostor/", "/etc/hosts"])
    runner.run(["chmod", "755", "/srv/ronron/volumes"])

    planned = plan_provisioning(site, servers, ACCESS)
    assert changes(planned) == [
        ("worker-1", "host name", "renamed", "worker-1"),
        ("worker-1", "/srv/ronron/volumes", "mode 0755", "folder, mode 0711"),
        ("worker-1", "/etc/hosts", "differs", "as declared"),
        ("worker-1", "/etc/docker/daemon.json", "differs", "as declared"),
        ("worker-1", "service docker", "running", "restarted"),
    ]
    lines = {one.item: one.lines for one in planned.changes}
    assert lines["/etc/docker/daemon.json"] == (
        '-  "log-driver": "json-file",',
        '+  "log-driver": "journald",',
    )
    before, after = lines["/etc/hosts"]
    assert before.startswith("-")
    assert before.endswith(" impostor")
    assert after == "+" + before[1:].replace("impostor", "worker-2")

    assert apply_provisioning(site, servers, ACCESS) == planned
    assert changes(plan_provisioning(site, servers, ACCESS)) == []
    assert runner.run(["hostname"]).text == "worker-1"


def test_a_server_whose_address_changed_is_found_by_its_name(
    provisioned: object, cloud: Lab, site: LoadedSite
) -> None:
    old = cloud.server("worker-2").ip
    new = lab.move_server(cloud, "worker-2")
    address = cloud.server("worker-2").address

    def planned() -> ProvisioningPlan:
        with connections(site) as opened:
            return plan_provisioning(site, opened, ACCESS)

    assert eventually(lambda: planned().failures == () and planned().changes != ())
    plan = planned()
    assert {(one.server, one.item) for one in plan.changes} == {
        (name, "/etc/hosts") for name in SERVERS
    }
    for change in plan.changes:
        assert change.lines == (f"-{old} {address} worker-2", f"+{new} {address} worker-2")
    with connections(site) as opened:
        assert apply_provisioning(site, opened, ACCESS) == plan
        assert changes(plan_provisioning(site, opened, ACCESS)) == []


def test_a_stopped_server_hides_no_other(provisioned: object, cloud: Lab, site: LoadedSite) -> None:
    lab.stop_server(cloud, "worker-2")
    try:
        with connections(site) as opened:
            opened["worker-1"].run(["hostname", "renamed"])
            applied = apply_provisioning(site, opened, ACCESS)
            found = {one.server: one for one in check(site, opened)}
    finally:
        lab.start_server(cloud, "worker-2")
    assert [(one.server, one.item) for one in applied.changes] == [("worker-1", "host name")]
    (failure,) = applied.failures
    assert failure.server == "worker-2"
    assert failure.exit_code == 2
    assert cloud.server("worker-2").address in str(failure)
    assert found["worker-1"].fit
    assert not found["worker-2"].fit


def test_a_kernel_that_cannot_encrypt_is_told_where_the_site_encrypts(
    provisioned: object, cloud: Lab, tmp_path: Path
) -> None:
    site = write_site(tmp_path / "encrypting", cloud, encrypted=True)
    with connections(site) as opened:
        found = check(site, opened)
    assert [one.fit for one in found] == [cloud.encrypted_networks] * len(SERVERS)
    told = [str(finding) for one in found for finding in one.findings]
    assert any("cannot encrypt" in text for text in told) is not cloud.encrypted_networks


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    provisioned: object, site: LoadedSite
) -> None:
    with connections(site) as opened:
        runner = opened["worker-1"]
        (old,) = pinned(site.known_hosts, "worker-1")
        new_key = "rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -A && systemctl restart ssh"
        runner.run(["sh", "-c", new_key])
    address = site.site.servers["worker-1"].address
    presented = scan_host_keys(address, 22, site.site.resolver)
    new = next(key for key in presented if key.type == old.type)
    try:
        with connections(site) as opened:
            plan = plan_provisioning(site, opened, ACCESS)
    finally:
        pin(site.known_hosts, "worker-1", presented)
    (failure,) = plan.failures
    assert failure.exit_code == 2
    assert old.fingerprint in str(failure)
    assert new.fingerprint in str(failure)
    assert old.fingerprint != new.fingerprint
    with connections(site) as opened:
        assert changes(plan_provisioning(site, opened, ACCESS)) == []


def test_an_unpinned_server_is_refused(site: LoadedSite, tmp_path: Path) -> None:
    server = site.site.servers["worker-1"]
    with (
        connections_to(
            [server],
            tmp_path / "known_hosts",
            resolver=site.site.resolver,
            key=key_file(site),
        ) as opened,
        pytest.raises(ServerError, match=r"no host key of .* is pinned"),
    ):
        opened["worker-1"].run(["true"])
    assert not (tmp_path / "known_hosts").exists()


def test_a_server_without_python_is_named(
    provisioned: object, site: LoadedSite, servers: Connections
) -> None:
    runner = servers["worker-2"]
    runner.run(["mv", "/usr/bin/python3", "/usr/bin/python3.away"])
    try:
        plan = plan_provisioning(site, servers, ACCESS)
        found = {one.server: one for one in check(site, servers)}
    finally:
        runner.run(["mv", "/usr/bin/python3.away", "/usr/bin/python3"])
    (failure,) = plan.failures
    assert str(failure) == (
        "worker-2: there is no Python 3 on the server (run apt-get install python3 there)"
    )
    assert failure.exit_code == 2
    assert [name for name, one in found.items() if not one.fit] == ["worker-2"]


def test_a_port_of_the_proxy_in_use_on_the_manager_is_refused(
    provisioned: object, site: LoadedSite, servers: Connections
) -> None:
    unit = ["systemd-run", "--unit", "squatter", "python3", "-m", "http.server", "80"]
    runner = servers["manager"]
    runner.run(unit)
    try:
        assert eventually(lambda: 80 in facts(runner, Query(ports=(80,))).listeners)
        (failure,) = apply_provisioning(site, servers, ACCESS).failures
    finally:
        runner.run(["systemctl", "stop", "squatter"])
    assert "manager: port 80 is already used by python3" in str(failure)
    assert failure.exit_code == 2


def test_a_failed_step_is_told_with_the_servers_last_words(
    provisioned: object, site: LoadedSite, servers: Connections
) -> None:
    runner = servers["worker-2"]
    servers["worker-1"].run(["hostname", "renamed"])
    runner.run(["mount", "-t", "tmpfs", "-o", "ro,mode=755", "none", "/etc/docker"])
    try:
        applied = apply_provisioning(site, servers, ACCESS)
    finally:
        runner.run(["umount", "/etc/docker"])
    (failure,) = applied.failures
    assert failure.server == "worker-2"
    assert failure.exit_code == 1
    assert str(failure) == "worker-2: could not make /etc/docker/certs.d"
    assert any("Read-only file system" in line for line in failure.details)
    assert servers["worker-1"].run(["hostname"]).text == "worker-1"
    assert changes(plan_provisioning(site, servers, ACCESS)) == []


def test_a_user_with_sudo_provisions_as_root_does(
    provisioned: object, cloud: Lab, site: LoadedSite, tmp_path: Path
) -> None:
    with connections(site) as opened:
        runner = opened["worker-1"]
        runner.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "sudo"])
        runner.run(["useradd", "--create-home", "--shell", "/bin/bash", "hoster"])
        runner.run(["cp", "-r", "/root/.ssh", "/home/hoster/"])
        runner.run(["chown", "-R", "hoster:", "/home/hoster/.ssh"])
    whole = write_site(tmp_path / "site", cloud, user="hoster")
    pin(whole.known_hosts, "worker-1", pinned(site.known_hosts, "worker-1"))
    with connections(whole) as opened:
        (failure,) = plan_provisioning(whole, opened, ACCESS, names=["worker-1"]).failures
        assert "cannot become root without a password" in str(failure)
        with connections(site) as roots:
            roots["worker-1"].put("/etc/sudoers.d/hoster", b"hoster ALL=(ALL) NOPASSWD: ALL\n")
        runner = opened["worker-1"]
        assert runner.run(["id", "-un"]).text == "root"
        runner.run(["hostname", "renamed"])
        runner.run(["sed", "-i", 's/"journald"/"json-file"/', "/etc/docker/daemon.json"])
        plan = apply_provisioning(whole, opened, ACCESS, names=["worker-1"])
        items = [item for _, item, _, _ in changes(plan)]
        assert items == ["host name", "/etc/docker/daemon.json", "service docker"]
        assert changes(plan_provisioning(whole, opened, ACCESS, names=["worker-1"])) == []
        runner.put("/root/secret", b"whole", mode=0o600)
        assert runner.run(["stat", "-c", "%a %U %s", "/root/secret"]).text == "600 root 5"
        with runner.socket("/run/docker.sock") as path:
            assert b"200 OK" in ask_docker(path)


def test_playbooks_run_and_their_changes_are_counted(
    provisioned: object, cloud: Lab, site: LoadedSite, tmp_path: Path
) -> None:
    pytest.importorskip("ansible")
    folder = tmp_path / "site"
    folder.mkdir()
    task = '{dest: /etc/motd, content: "welcome to {{ inventory_hostname }}\\n"}'
    (folder / "motd.yml").write_text(
        f"- hosts: workers\n  gather_facts: false\n  tasks:\n    - copy: {task}\n"
    )
    (folder / "broken.yml").write_text(
        "- hosts: manager\n  gather_facts: false\n  tasks:\n    - command: /bin/false\n"
    )
    whole = write_site(folder, cloud, more="playbooks: [motd.yml]\n")
    pin(whole.known_hosts, "worker-1", pinned(site.known_hosts, "worker-1"))
    (first,) = run_playbooks(whole)
    assert dict(first.changed) == {"manager": 1, "worker-1": 1, "worker-2": 1}
    (second,) = run_playbooks(whole)
    assert set(second.changed.values()) == {0}
    broken = write_site(folder, cloud, more="playbooks: [broken.yml]\n")
    with pytest.raises(RonronError, match=r"playbook broken\.yml: failed"):
        run_playbooks(broken)


def ask_docker(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        answer = b""
        while data := connection.recv(4096):
            answer += data
        return answer
