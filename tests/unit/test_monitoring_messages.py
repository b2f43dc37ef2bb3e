"""The watch: messages to people, and the channels that carry them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ronron.catalog.recipes.monitoring.image.watch.__main__ import (
    Handler,
    Watch,
    deliver,
    message_key,
)
from ronron.catalog.recipes.monitoring.image.watch.channels import channels
from ronron.catalog.recipes.monitoring.image.watch.messages import Message, compose
from serving import serving

ALERT = {
    "status": "firing",
    "labels": {"alertname": "AppNotAnswering", "app": "blog", "service": "web", "server": "one"},
    "annotations": {
        "summary": "blog does not answer",
        "description": "HTTP status 502",
        "command": "ronron logs blog",
    },
    "startsAt": "2026-11-27T08:00:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
}


def none(server: str) -> list[str]:
    """A server's errors: there are none."""
    return []


def test_a_message_says_what_where_since_when_the_last_lines_and_what_to_do() -> None:
    asked = []

    def logs(name: str, count: int) -> list[str]:
        asked.append((name, count))
        return ["cannot open the database"]

    message = compose({"alerts": [ALERT, ALERT]}, "cats", logs, lambda server: ["?"])
    assert message.subject == "[cats] FIRING: blog does not answer (and 1 more)"
    assert asked == [("blog_web", 5)] * 2
    assert message.text.split("\n\n")[0].splitlines() == [
        "FIRING: blog does not answer",
        "app: blog",
        "server: one",
        "since: 2026-11-27 08:00:00 UTC",
        "why: HTTP status 502",
        "next: ronron logs blog",
        "last lines of blog_web:",
        "  cannot open the database",
    ]
    assert not message.resolved


def test_an_alert_of_no_service_shows_the_log_that_its_rule_names() -> None:
    labels = {"alertname": "CertificateOld", "app": "blog", "domain": "blog.example.org"}
    notes = {"summary": "the certificate is not renewed", "log": "proxy_proxy"}
    alert = {**ALERT, "labels": labels, "annotations": notes}
    text = compose({"alerts": [alert]}, "cats", lambda name, _: [f"of {name}"], none).text
    assert "last lines of proxy_proxy:\n  of proxy_proxy" in text
    notes["log"] = ""
    assert "last lines" not in compose({"alerts": [alert]}, "cats", lambda *_: ["?"], none).text


def test_what_is_wrong_on_a_server_comes_with_the_last_errors_of_its_journal() -> None:
    disk = {**ALERT, "labels": {"alertname": "DiskFull", "server": "one", "mountpoint": "/"}}
    text = compose(
        {"alerts": [disk, ALERT, disk]}, "cats", lambda *_: [], lambda server: [f"I/O on {server}"]
    ).text
    assert text.endswith("\n\nlast errors in the journal of one:\n  I/O on one\n")
    assert text.count("last errors") == 1
    # An app's alert has the app's log.
    assert (
        "last errors"
        not in compose({"alerts": [ALERT]}, "cats", lambda *_: [], lambda _: ["?"]).text
    )


def test_a_message_says_what_is_over() -> None:
    over = {**ALERT, "status": "resolved", "endsAt": "2026-11-27T08:05:00Z"}
    message = compose({"alerts": [over]}, "cats", lambda name, count: [], none)
    assert message.subject == "[cats] RESOLVED: blog does not answer"
    assert "from 2026-11-27 08:00:00 UTC to 2026-11-27 08:05:00 UTC" in message.text
    assert message.resolved


def test_a_channel_that_fails_keeps_no_other_from_sending(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS", tmp_path)
    (tmp_path / "slack_url").write_text("file:///etc/passwd\n")
    found = channels({"email": ["a@example.org"]}, {"MAIL_FROM": "b@example.org"})
    result = deliver(Message("s", "t", False), found)
    assert result == {
        "email a@example.org": "OSError: the site has no mail relay: set mail in ronron.yml",
        "slack": "OSError: its URL begins neither with https:// nor with http://",
    }


class PretendedServices(HTTPServer):
    """What Matrix, ntfy and Slack are to who calls them: each request is kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.kept: list[tuple[str, str, str, bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Keep(BaseHTTPRequestHandler):
    server: PretendedServices

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers.get("Authorization", "")
        self.server.kept.append((self.command, self.path, token, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are kept."""


@pytest.fixture
def services() -> Iterator[PretendedServices]:
    with serving(PretendedServices()) as server:
        yield server


def test_matrix_ntfy_and_slack_are_called_as_their_documentation_says(
    services: PretendedServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS", tmp_path)
    (tmp_path / "slack_url").write_text(f"{services.url}/hook\n")
    (tmp_path / "matrix_token").write_text("m-token\n")
    (tmp_path / "ntfy_token").write_text("n-token\n")
    matrix = {"homeserver": f"{services.url}/", "room": "!cats:example.org"}
    found = channels({"matrix": matrix, "ntfy": f"{services.url}/topic"}, {})
    message = Message("blog is down", "since 08:00", False)
    assert deliver(message, found) == {"matrix": "", "ntfy": "", "slack": ""}
    sent = {path.split("/")[1]: (command, path, token, body)
            for command, path, token, body in services.kept}  # fmt: skip
    command, path, token, body = sent["_matrix"]
    start = "/_matrix/client/v3/rooms/%21cats%3Aexample.org/send/m.room.message/"
    assert (command, path.startswith(start), token) == ("PUT", True, "Bearer m-token")
    assert json.loads(body) == {"msgtype": "m.text", "body": "blog is down\n\nsince 08:00"}
    assert sent["topic"] == ("POST", "/topic", "Bearer n-token", b"since 08:00")
    command, _, token, body = sent["hook"]
    assert (command, token) == ("POST", "")
    assert json.loads(body) == {"text": "*blog is down*\n```since 08:00```"}
    services.status = 403
    refused = deliver(message, found)
    assert set(refused) == {"matrix", "ntfy", "slack"}
    assert all("403" in why for why in refused.values())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The watch's own server, as Alertmanager reaches it."""
    monkeypatch.setattr(Handler, "delivered", {})
    monkeypatch.setattr(Handler, "watch", Watch(), raising=False)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def post(url: str, about: dict[str, Any]) -> int:
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=10)
    with closing(connection):
        connection.request("POST", f"/{path}", json.dumps(about))
        return connection.getresponse().status


def test_a_notice_that_is_tried_again_goes_to_the_channels_that_failed(
    served: str, services: PretendedServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS", tmp_path)
    monkeypatch.setenv("ALERTS", json.dumps({"ntfy": f"{services.url}/topic"}))
    slack = tmp_path / "slack_url"
    slack.write_text("http://127.0.0.1:1/closed\n")
    lonely = {**ALERT, "labels": {"alertname": "ServerGone"}, "fingerprint": "1f"}
    notice = {"groupKey": "{}", "alerts": [lonely]}
    assert post(f"{served}/alerts", notice) == 500
    assert [path for _, path, _, _ in services.kept] == ["/topic"]
    slack.write_text(f"{services.url}/hook\n")
    assert post(f"{served}/alerts", notice) == 200
    assert [path for _, path, _, _ in services.kept] == ["/topic", "/hook"]
    # Once all have it, the next is a repeat for all.
    assert post(f"{served}/alerts", notice) == 200
    assert sorted(path for _, path, _, _ in services.kept[2:]) == ["/hook", "/topic"]


def test_the_dead_mans_switch_is_called_and_its_failure_is_tried_again(
    served: str, services: PretendedServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS", tmp_path)
    assert post(f"{served}/alive", {}) == 200
    assert services.kept == []
    (tmp_path / "deadman_url").write_text(f"{services.url}/ping\n")
    assert post(f"{served}/alive", {}) == 200
    assert [(command, path) for command, path, _, _ in services.kept] == [("POST", "/ping")]
    services.status = 503
    assert post(f"{served}/alive", {}) == 500
    assert post(f"{served}/nowhere", {}) == 404


def test_a_channel_that_answers_nonsense_is_told_without_its_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS", tmp_path)
    (tmp_path / "slack_url").write_text("https://hooks.example.org/services/T0 hush\n")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"tuna\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        (tmp_path / "webhook_url").write_text(f"http://127.0.0.1:{server.getsockname()[1]}/hush")
        result = deliver(Message("s", "t", False), channels({}, {}))
        thread.join()
    assert {name: why.partition(":")[0] for name, why in result.items()} == {
        "slack": "InvalidURL",
        "webhook": "BadStatusLine",
    }
    assert "hush" not in str(result)


def test_a_notice_of_the_same_alert_at_another_time_is_another() -> None:
    """What is delivered to some channels is remembered for the notice that is tried again alone."""
    alert = {"fingerprint": "1f", "startsAt": "2026-11-20T08:00:00Z", "status": "firing"}
    notice = {"groupKey": "{}", "alerts": [alert]}
    later = {"groupKey": "{}", "alerts": [{**alert, "startsAt": "2026-11-27T08:00:00Z"}]}
    over = {"groupKey": "{}", "alerts": [{**alert, "status": "resolved"}]}
    assert message_key(notice) == message_key(json.loads(json.dumps(notice)))
    assert len({message_key(one) for one in (notice, later, over)}) == 3
