"""Alerts by e-mail, to a real SMTP server that wants STARTTLS and a login."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from authority import START, Authority
from ronron.catalog.recipes.monitoring.image.watch.__main__ import deliver
from ronron.catalog.recipes.monitoring.image.watch.channels import channels
from ronron.catalog.recipes.monitoring.image.watch.messages import Message

SECRETS = "ronron.catalog.recipes.monitoring.image.watch.channels.SECRETS"
LOGIN = LoginPassword(b"cloud", b"tuna and milk")


class Inbox:
    """What arrived: the recipient and the text of each mail. Dogs are refused."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []

    async def handle_RCPT(self, _: Any, session: Any, envelope: Any, address: str, __: Any) -> str:
        """As aiosmtpd asks it."""
        assert session.ssl is not None
        if address.startswith("dog"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 taken"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        """As aiosmtpd gives it."""
        self.mails += [(to, envelope.content.decode()) for to in envelope.rcpt_tos]
        return "250 taken"


@pytest.fixture
def relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Inbox, dict[str, str]]]:
    """A mail server, and the environment of a watch that sends through it."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("localhost", START + timedelta(days=20)))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    monkeypatch.setattr(SECRETS, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:  # aiosmtpd wants to know its port
        port = free.getsockname()[1]
    inbox = Inbox()
    server = Controller(
        inbox, "127.0.0.1", port, tls_context=context, require_starttls=True, auth_required=True,
        authenticator=lambda *asked: AuthResult(success=asked[-1] == LOGIN, handled=False),
    )  # fmt: skip
    server.start()
    try:
        yield inbox, {
            "MAIL_HOST": "localhost", "MAIL_PORT": str(port), "MAIL_USER": "cloud",
            "MAIL_FROM": "cloud@example.org",
        }  # fmt: skip
    finally:
        server.stop()


def test_an_address_that_is_refused_is_told_and_keeps_no_other_from_the_mail(
    relay: tuple[Inbox, dict[str, str]], tmp_path: Path
) -> None:
    inbox, environment = relay
    (tmp_path / "mail_password").write_text("tuna and milk\n")
    settings = {"email": ["cat@example.org", "dog@example.org"]}
    result = deliver(Message("blog is down", "since 08:00", False), channels(settings, environment))
    assert result["email cat@example.org"] == ""
    assert "no such user" in result["email dog@example.org"]
    ((to, text),) = inbox.mails
    assert to == "cat@example.org"
    assert "Subject: blog is down" in text
    assert "since 08:00" in text


def test_a_wrong_password_is_told(relay: tuple[Inbox, dict[str, str]], tmp_path: Path) -> None:
    inbox, environment = relay
    (tmp_path / "mail_password").write_text("mice\n")
    found = channels({"email": ["cat@example.org"]}, environment)
    (why,) = deliver(Message("s", "t", False), found).values()
    assert "535" in why
    assert inbox.mails == []
