"""Apps are asked as their users ask them: a real HTTPS server, with certificates of a test's own
authority."""

from __future__ import annotations

import json
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from authority import START, Authority, https
from ronron.errors import RonronError
from ronron.events import Event, State, ignore
from ronron.swarm import probe
from ronron.swarm.engines import engine_of
from swarm_api import Engine, served, service

DOMAIN = "blog.example.org"
EXPIRES = START + timedelta(days=20)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_an_answer_tells_status_protocol_and_certificate(authority: Authority) -> None:
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        server.status = 301
        answer = probe.ask(
            DOMAIN, "/health?x=1", address="127.0.0.1", port=server.port, trust=authority.root
        )
    assert answer == probe.Answer(
        f"https://{DOMAIN}/", 301, "TLSv1.3", "Test authority", EXPIRES
    ), "a redirect is not followed"
    lines = server.requests[0].splitlines()
    assert lines[0] == "GET /health?x=1 HTTP/1.1"
    assert f"Host: {DOMAIN}:{server.port}" in lines


def test_a_certificate_of_another_name_is_no_answer(authority: Authority) -> None:
    with (
        https(authority.certificate("shop.example.org", EXPIRES)) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        probe.ask(DOMAIN, "/", address="127.0.0.1", port=server.port, trust=authority.root)
    assert server.requests == []


def test_a_certificate_of_another_authority_is_no_answer(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "Another authority")
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        for trust in (other.root, None):
            with pytest.raises(ssl.SSLCertVerificationError):
                probe.ask(DOMAIN, "/", address="127.0.0.1", port=server.port, trust=trust)
    assert server.requests == []


def test_an_expired_certificate_is_no_answer(authority: Authority) -> None:
    expired = authority.certificate(DOMAIN, START + timedelta(hours=1))
    with https(expired) as server, pytest.raises(ssl.SSLCertVerificationError):
        probe.ask(DOMAIN, "/", address="127.0.0.1", port=server.port, trust=authority.root)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_not_spoken(authority: Authority) -> None:
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        server.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        server.context.minimum_version = ssl.TLSVersion.TLSv1
        server.context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            probe.ask(DOMAIN, "/", address="127.0.0.1", port=server.port, trust=authority.root)


def test_nobody_there_is_no_answer(authority: Authority) -> None:
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        pass
    with pytest.raises(ConnectionRefusedError):
        probe.ask(DOMAIN, "/", address="127.0.0.1", port=server.port, trust=authority.root)


def ask_until(port: int, trust: Path, *, seconds: float, engine: Engine) -> probe.Answer:
    with served(engine) as runner, engine_of(runner) as client:
        return probe.wait(
            client,
            "blog",
            DOMAIN,
            "/health",
            address="127.0.0.1",
            port=port,
            trust=trust,
            seconds=seconds,
            report=ignore,
        )


def test_it_is_asked_until_it_answers_well(authority: Authority) -> None:
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        server.status = 502

        class Healing(list[str]):
            def append(self, item: str) -> None:
                super().append(item)
                server.status = 200 if len(self) > 1 else 502

        server.requests = Healing()
        answer = ask_until(server.port, authority.root, seconds=20, engine=Engine())
    assert (answer.status, len(server.requests)) == (200, 2)


def test_a_bad_status_is_told_with_the_proxys_last_lines(authority: Authority) -> None:
    engine = Engine(services=[service("proxy", "proxy")])
    engine.logs = {"proxy_proxy": [("t", "I proxy")]}
    with https(authority.certificate(DOMAIN, EXPIRES)) as server:
        server.status = 503
        with pytest.raises(RonronError) as caught:
            ask_until(server.port, authority.root, seconds=0, engine=engine)
    assert caught.value.message == (
        f"blog: https://{DOMAIN}/health does not answer after 0 s: HTTP status 503"
    )
    assert f"check that {DOMAIN} resolves to 127.0.0.1" in caught.value.remedy
    assert caught.value.details == ("I proxy",)


def test_a_stranger_whom_the_proxy_refuses_has_an_answer(authority: Authority) -> None:
    with (
        https(authority.certificate(DOMAIN, EXPIRES)) as server,
        served(Engine()) as address,
        engine_of(address) as engine,
    ):
        server.status = 401
        answer = probe.wait(
            engine, "blog", DOMAIN, "/", address="127.0.0.1", port=server.port,
            trust=authority.root, seconds=5, report=ignore, refusals=[401],
        )  # fmt: skip
        assert answer.status == 401
        server.status = 403
        with pytest.raises(RonronError, match="HTTP status 403"):
            probe.wait(
                engine, "blog", DOMAIN, "/", address="127.0.0.1", port=server.port,
                trust=authority.root, seconds=0.1, report=ignore, refusals=[401],
            )  # fmt: skip


def test_what_the_acme_server_said_is_told_first(authority: Authority, tmp_path: Path) -> None:
    entry = {
        "providerName": "acme.acme",
        "error": f"unable to get a certificate:\n {DOMAIN}: 403 :: unauthorized",
        "domains": [DOMAIN],
    }
    engine = Engine(services=[service("proxy", "proxy")])
    engine.logs = {"proxy_proxy": [("t", json.dumps(entry))]}
    default = Authority(tmp_path, "TRAEFIK DEFAULT CERT").certificate(DOMAIN, EXPIRES)
    with https(default) as server, pytest.raises(RonronError) as caught:
        ask_until(server.port, authority.root, seconds=0, engine=engine)
    said = "no certificate: unable to get a certificate: blog.example.org: 403 :: unauthorized"
    assert said in caught.value.message
    assert "ports 80 and 443 be open" in caught.value.remedy
    assert caught.value.details == ()


def test_a_certificate_that_is_not_there_yet_is_told_as_such(
    authority: Authority, tmp_path: Path
) -> None:
    default = Authority(tmp_path, "Another authority").certificate(DOMAIN, EXPIRES)
    with https(default) as server, pytest.raises(RonronError, match="certificate is not valid yet"):
        ask_until(server.port, authority.root, seconds=0, engine=Engine())


def test_the_step_is_reported(authority: Authority) -> None:
    told: list[Event] = []
    with (
        https(authority.certificate(DOMAIN, EXPIRES)) as server,
        served(Engine()) as runner,
        engine_of(runner) as client,
    ):
        probe.wait(
            client, "blog", DOMAIN, "/", address="127.0.0.1", port=server.port,
            trust=authority.root, seconds=5, report=told.append,
        )  # fmt: skip
    assert [(item.step, item.state) for item in told] == [
        (f"https://{DOMAIN}/", State.STARTED),
        (f"https://{DOMAIN}/", State.DONE),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"provider": "acme", "error": f"for {DOMAIN}: no"}, [f"for {DOMAIN}: no"]),
        ({"provider": "acme", "error": "no", "domain": f"https://{DOMAIN}."}, ["no"]),
        ({"provider": "acme", "error": f"for my-{DOMAIN}: no"}, []),
        ({"provider": "acme", "error": f"for my.{DOMAIN}: no"}, []),
        ({"provider": "acme", "error": f"for {DOMAIN}.net: no"}, []),
        ({"provider": "docker", "error": f"for {DOMAIN}: no"}, []),
        ({"provider": "acme", "message": f"for {DOMAIN}: yes"}, []),
        (f"acme {DOMAIN} error", []),
    ],
)
def test_errors_are_found_by_the_whole_domain(line: object, said: list[str]) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    assert probe.acme_errors([text, '"acme"', "{}"], DOMAIN) == said
