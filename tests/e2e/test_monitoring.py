"""The monitoring on real servers: what it sees by itself, whom it tells, and that it is over."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from e2e.cloud import Operator, another_server, ask, eventually
from ronron import lab
from ronron.catalog.recipe import find
from ronron.lab.model import resource
from ronron.plan import monitoring
from ronron.plan.session import open_session
from ronron.site import yamltext
from ronron.site.load import load_site
from ronron.site.yamltext import Change

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi")]

TOLD = 180
"""Seconds within which somebody is told."""
PROMISED = 120
"""Those within which somebody is told by mail that an app is down; the webhook is called beside."""
TO = "cat@example.org"
FOLDER = "/var/lib/ronron/metrics"


@dataclass
class Inbox:
    """What arrived: by e-mail, at the webhook, and how often the dead man's switch was called."""

    mails: list[EmailMessage] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    alive: int = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a mail, as aiosmtpd gives it."""
        mail = BytesParser(EmailMessage, policy=default).parsebytes(envelope.content)
        assert envelope.rcpt_tos == [TO]
        self.mails.append(mail)
        return "250 taken"

    def mail(self, *words: str) -> str | None:
        """The first mail that has all `words`."""
        texts = [f"{mail['Subject']}\n{_content(mail)}" for mail in list(self.mails)]
        return next((text for text in texts if all(word in text for word in words)), None)

    def post(self, *words: str) -> dict[str, Any] | None:
        """The first message at the webhook that has all `words`."""
        return next(
            (item for item in list(self.posts) if all(word in str(item) for word in words)), None
        )


def _content(mail: Message) -> str:
    assert isinstance(mail, EmailMessage)
    return str(mail.get_content()).replace("\r\n", "\n")


@dataclass(frozen=True)
class Watched:
    """A site with its monitoring, and what its messages arrive at."""

    operator: Operator
    inbox: Inbox

    def query(self, expression: str) -> tuple[monitoring.Series, ...]:
        """What the site's Prometheus says."""
        with open_session(load_site(self.operator.folder), lambda event: None) as session:
            return monitoring.query(session, expression)

    def scale(self, service: str, count: int) -> None:
        self.operator.on("manager", "docker", "service", "scale", "--detach", f"{service}={count}")


@pytest.fixture(scope="module")
def inbox(operator: Operator) -> Iterator[tuple[Inbox, str, int, int]]:
    """A mail server and a web server on this computer's side of the lab's network."""
    network = json.loads(
        subprocess.check_output(["docker", "network", "inspect", resource(operator.lab.name)])
    )
    gateway = str(ipaddress.ip_network(network[0]["IPAM"]["Config"][0]["Subnet"])[1])
    found = Inbox()
    with socket.create_server((gateway, 0)) as free:  # aiosmtpd wants to know its port
        mail_port = free.getsockname()[1]
    mail = Controller(found, hostname=gateway, port=mail_port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/alive":
                found.alive += 1
            else:
                found.posts.append(json.loads(content))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((gateway, 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        mail.start()
        try:
            yield found, gateway, mail_port, web.server_port
        finally:
            mail.stop()
            web.shutdown()


@pytest.fixture(scope="module")
def watched(operator: Operator, inbox: tuple[Inbox, str, int, int]) -> Iterator[Watched]:
    found, gateway, mail_port, web_port = inbox
    file = operator.folder / "ronron.yml"
    before = file.read_text()
    change = Change(("alerts",), {"email": [TO], "disk": 95})
    file.write_text(yamltext.apply(before, [change], "ronron.yml"))
    for name, path in (("webhook_url", "post"), ("deadman_url", "alive")):
        process = operator.start(
            "secrets", "set", "monitoring", name, stdin=f"http://{gateway}:{web_port}/{path}\n"
        )
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    relay = {"host": gateway, "port": mail_port, "security": "none", "from": "cloud@example.org"}
    options = [word for key, value in relay.items() for word in ("--set", f"mail_{key}={value}")]
    # As systemd does where it is not in a container: containers see what is mounted later.
    operator.on("manager", "mount", "--make-rshared", "/")
    try:
        operator.ronron("deploy", "monitoring", "--yes", "--timeout", "600", *options)
        yield Watched(operator, found)
    finally:
        operator.ronron("remove", "monitoring", "--delete-data", "--yes")
        file.write_text(before)


def test_every_channel_takes_a_test_message(watched: Watched) -> None:
    out, _ = watched.operator.ronron("alerts", "test", "--json")
    assert json.loads(out) == {f"email {TO}": "", "webhook": ""}
    assert watched.inbox.mail("TEST")
    assert watched.inbox.post("TEST")


def test_every_server_and_app_is_measured_without_being_named(watched: Watched) -> None:
    servers = {server.name for server in watched.operator.lab.servers}

    def seen() -> bool:
        figures = (
            "ronron:cpu_percent", "ronron:memory_percent", "server_reboot_required",
            "sum by (server) (ronron:container_memory_bytes)", "engine_daemon_events_total",
        )  # fmt: skip
        found = [{item.labels["server"] for item in watched.query(one)} for one in figures]
        return all(one == servers for one in found)

    eventually(seen, TOLD)
    eventually(lambda: watched.query('probe_success{app="hi"} == 1'), TOLD)
    # A new app, and nothing else is touched.
    watched.operator.deploy("hello", "newcomer")
    try:
        eventually(lambda: watched.query('probe_success{app="newcomer"} == 1'), TOLD)
        eventually(lambda: watched.query('ronron:container_memory_bytes{app="newcomer"}'), TOLD)
        eventually(lambda: watched.query('ronron_certificate_not_after_seconds{app="hi"}'), TOLD)
    finally:
        watched.operator.ronron("remove", "newcomer", "--delete-data", "--yes")


def test_an_app_that_stops_and_a_full_disk_are_told_and_that_they_are_over(
    watched: Watched, tmp_path: Path
) -> None:
    operator, inbox = watched.operator, watched.inbox
    image = tmp_path / "full.img"
    subprocess.check_call(["/sbin/mke2fs", "-q", "-t", "ext4", image, "32M"])
    place = f"{operator.lab.server('manager').container}:/var/full.img"
    subprocess.check_call(["docker", "cp", "-q", image, place])
    operator.mount("manager", "/var/full.img", "/mnt/full")
    fill = "dd if=/dev/zero of=/mnt/full/file bs=1M 2>/dev/null || :"
    operator.on("manager", "sh", "-c", fill)
    operator.on("manager", "logger", "--priority", "user.err", "--tag", "purr", "the disk is sick")
    operator.on("manager", "systemctl", "restart", "ronron_figures")
    try:
        watched.scale("hi_web", 0)
        for found in (
            eventually(lambda: inbox.mail("FIRING: hi does not answer"), PROMISED),
            str(eventually(lambda: inbox.post("FIRING: hi does not answer"), 30)["text"]),
        ):
            assert "app: hi" in found
            assert re.search(r"^server: (manager|worker-1|worker-2)$", found, re.M)
            assert "next: ronron logs hi" in found
        full = eventually(lambda: inbox.mail("/mnt/full is nearly full"), TOLD)
        assert "server: manager" in full
        assert "last errors in the journal of manager:" in full
        assert "purr: the disk is sick" in full
        out, _ = operator.ronron("alerts", "list", "--json", status=1)
        names = {item["name"] for item in json.loads(out)["alerts"]}
        assert {"AppNotAnswering", "DiskFull"} <= names
    finally:
        watched.scale("hi_web", 2)
        operator.on("manager", "sh", "-c", UNDO)
    eventually(lambda: inbox.mail("RESOLVED: hi does not answer"), TOLD)
    eventually(lambda: inbox.mail("RESOLVED", "/mnt/full"), TOLD)
    assert inbox.alive > 0


def test_a_dead_server_is_one_message(watched: Watched) -> None:
    operator, inbox = watched.operator, watched.inbox
    victim = "worker-2"
    known = len(inbox.posts)
    lab.stop_server(operator.lab, victim)
    try:
        eventually(lambda: inbox.post(f"FIRING: {victim} is gone"), TOLD)
        told = [item for item in inbox.posts[known:] if f"server: {victim}" in item["text"]]
        assert len(told) == 1
        operator.ronron("alerts", "silence", "--server", victim, "--for", "10m")
        process = operator.start("alerts", "list", "--json")  # others may be told, or not
        found = json.loads(process.communicate(timeout=120)[0])
        gone = [item for item in found["alerts"] if item["name"] == "ServerGone"]
        assert [item["silenced"] for item in gone] == [True]
        operator.ronron("alerts", "unsilence", found["silences"][0]["id"])
    finally:
        lab.start_server(operator.lab, victim)
    eventually(lambda: inbox.post(f"RESOLVED: {victim} is gone"), TOLD)


def test_every_panel_of_the_dashboards_shows_something(watched: Watched) -> None:
    # As the jobs of backups and drills leave them.
    watched.operator.on("manager", "sh", "-c", f"cat > {FOLDER}/test.prom <<'E'\n{JOBS}E")
    try:
        for _ in range(3):
            ask(watched.operator, "hi")
        eventually(lambda: watched.query("ronron_drill_passed"), TOLD)
        missing = set(_queries())

        def all_found() -> bool:
            for query in sorted(missing):
                if watched.query(query):
                    missing.discard(query)
            return not missing

        with suppress(AssertionError):
            eventually(all_found, TOLD)
        assert missing == set()
    finally:
        watched.operator.on("manager", "rm", f"{FOLDER}/test.prom")


def _queries() -> Iterator[str]:
    """Every query of every panel and variable, for one server and one app."""
    values = {"$server": "manager", "$app": "hi", "$__rate_interval": "1m"}
    paths = sorted(Path(find("grafana").folder / "dashboards").glob("*.json"))
    assert len(paths) == 5
    for path in paths:
        dashboard = json.loads(path.read_text("utf-8"))
        for variable in dashboard["templating"]["list"]:
            query = variable["query"]["query"]
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
            assert found, query
            yield f'{found[1]}{{{found[2]}="{values["$" + variable["name"]]}"}}'
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                query = str(target["expr"])
                for name, value in values.items():
                    query = query.replace(name, value)
                yield query


def test_top_shows_servers_and_apps(watched: Watched) -> None:
    def figures() -> dict[str, Any] | None:
        out, _ = watched.operator.ronron("top", "--hours", "0.2", "--json")
        found: dict[str, Any] = json.loads(out)
        whole = {"cpu", "memory"} <= set(found["apps"].get("hi", ()))
        return found if whole else None

    found = eventually(figures, TOLD)
    assert {"manager", "worker-1", "worker-2"} == set(found["servers"])
    out, _ = watched.operator.ronron("top", "--hours", "0.2")
    assert re.search(r"[▁▂▃▄▅▆▇█]{3}", out)
    process = watched.operator.start("status", "--json")  # its status is that of the whole site
    status = json.loads(process.communicate(timeout=300)[0])
    assert set(status["figures"]) == set(found["servers"])


def test_a_new_server_is_watched_with_no_edit(watched: Watched) -> None:
    with another_server(watched.operator) as (_, name):
        for figure in ("ronron:memory_percent", "engine_daemon_events_total"):
            eventually(partial(watched.query, f'{figure}{{server="{name}"}}'), TOLD)


def test_nothing_is_left_to_change(watched: Watched) -> None:
    assert watched.operator.plan() == []


UNDO = "umount --lazy /mnt/full; rm -f /var/full.img"
JOBS = """\
ronron_backup_snapshot_timestamp_seconds{app="hi"} 1700000000
ronron_backup_alert_after_seconds{app="hi"} 9e9
ronron_backup_snapshot_bytes{app="hi"} 1000
ronron_backup_failed{app="hi"} 0
ronron_backup_alert{app="hi",kind="failed"} 0
ronron_drill_timestamp_seconds{app="hi"} 4e9
ronron_drill_passed{app="hi"} 1
"""
