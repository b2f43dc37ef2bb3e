"""The channels to people: each sends one message, or raises OSError with the reason."""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from pathlib import Path
from typing import Any

from .messages import Message

SECONDS = 20.0
SECRETS = Path("/run/secrets")

Send = Callable[[Message], None]


def secret(name: str) -> str:
    """A secret's value, empty when there is none."""
    try:
        return (SECRETS / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def channels(settings: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Send]:
    """What the site set up: `settings` is `alerts` of its file, the rest are secrets."""
    return dict(_channels(settings, environment))


def _channels(
    settings: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[tuple[str, Send]]:
    # Each address by itself: a relay may take one and refuse another.
    for address in settings.get("email") or ():
        yield f"email {address}", partial(_mail, to=address, environment=environment)
    if matrix := settings.get("matrix"):
        yield "matrix", lambda message: _matrix(message, matrix)
    if ntfy := settings.get("ntfy"):
        yield "ntfy", lambda message: _ntfy(message, ntfy)
    if slack := secret("slack_url"):
        yield "slack", lambda message: _slack(message, slack)
    if webhook := secret("webhook_url"):
        yield "webhook", lambda message: _webhook(message, webhook)


def _mail(message: Message, to: str, environment: Mapping[str, str]) -> None:
    host, port = environment.get("MAIL_HOST", ""), int(environment.get("MAIL_PORT") or 25)
    if not host:
        raise OSError("the site has no mail relay: set mail in ronron.yml")
    mail = EmailMessage()
    mail["Subject"], mail["From"] = message.subject, environment["MAIL_FROM"]
    mail["To"], mail["Date"] = to, formatdate()
    mail["Message-ID"] = make_msgid(domain=environment["MAIL_FROM"].rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    security = environment.get("MAIL_SECURITY", "starttls")
    trusted = ssl.create_default_context()
    if security == "tls":
        relay: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=trusted)
    else:
        relay = smtplib.SMTP(host, port, timeout=SECONDS)
    with relay:
        if security == "starttls":
            relay.starttls(context=trusted)
        if environment.get("MAIL_USER"):
            relay.login(environment["MAIL_USER"], secret("mail_password"))
        relay.send_message(mail)


def _matrix(message: Message, matrix: Mapping[str, str]) -> None:
    room = urllib.parse.quote(matrix["room"], safe="")
    url = (
        f"{matrix['homeserver'].rstrip('/')}/_matrix/client/v3/rooms/{room}"
        f"/send/m.room.message/{uuid.uuid4().hex}"
    )
    body = {"msgtype": "m.text", "body": f"{message.subject}\n\n{message.text}"}
    _send(url, json.dumps(body).encode(), "PUT", _bearer(secret("matrix_token")))


def _ntfy(message: Message, url: str) -> None:
    headers = {
        "Title": message.subject.encode("ascii", "replace").decode(),
        "Priority": "default" if message.resolved else "high",
        "Tags": "white_check_mark" if message.resolved else "rotating_light",
        "Content-Type": "text/plain; charset=utf-8",
        **_bearer(secret("ntfy_token")),
    }
    _send(url, message.text.encode(), "POST", headers)


def _slack(message: Message, url: str) -> None:
    text = f"*{message.subject}*\n```{message.text}```"
    _send(url, json.dumps({"text": text}).encode(), "POST", {})


def _webhook(message: Message, url: str) -> None:
    body = {"subject": message.subject, "text": message.text, "resolved": message.resolved}
    _send(url, json.dumps(body).encode(), "POST", {})


def tell_alive(url: str) -> None:
    """Tell an outside watch that alerts still get this far. Raises OSError."""
    _send(url, b"alive\n", "POST", {"Content-Type": "text/plain"})


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _send(url: str, body: bytes, method: str, headers: Mapping[str, str]) -> None:
    if not url.startswith(("https://", "http://")):
        raise OSError("its URL begins neither with https:// nor with http://")
    given = {"Content-Type": "application/json", "User-Agent": "ronron", **headers}
    request = urllib.request.Request(url, data=body, method=method, headers=given)  # noqa: S310
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        answer.read()


def settings() -> dict[str, Any]:
    """`alerts` of the site's file, as the stack gives it."""
    found: dict[str, Any] = json.loads(os.environ.get("ALERTS") or "{}")
    return found
