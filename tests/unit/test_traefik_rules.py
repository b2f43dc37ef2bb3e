"""Rules of Traefik 1, 2 and 3: what they match, written for version 3."""

from __future__ import annotations

import pytest

from ronron.catalog.plain.rules import Match, RuleError, expression, parse, parse_legacy

HOST = ("a.org",)


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("Host(`a.org`)", [Match(HOST, "")]),
        ("Host(`A.org.`)", [Match(HOST, "")]),
        ('Host("a.org")', [Match(HOST, "")]),
        ("HostHeader(`a.org`)", [Match(HOST, "")]),
        ("Host(`a.org`, `b.org`)", [Match(("a.org", "b.org"), "")]),
        ("Host(`a.org`)||Host(`b.org`)", [Match(("a.org", "b.org"), "")]),
        ("(Host(`a.org`)) && PathPrefix(`/x`)", [Match(HOST, "PathPrefix(`/x`)")]),
        ("PathPrefix(`/x`)", [Match((), "PathPrefix(`/x`)")]),
        ("HostRegexp(`{any:.+}`)", [Match((), "")]),
        ("HostRegexp(`.+`)", [Match((), "")]),
        ("", [Match((), "")]),
        (
            "Host(`a.org`) && (Path(`/`) || PathPrefix(`/x`, `/y`))",
            [Match(HOST, "Path(`/`) || PathPrefix(`/x`) || PathPrefix(`/y`)")],
        ),
        (
            "Host(`a.org`) && PathPrefix(`/x`) || Host(`b.org`)",
            [Match(HOST, "PathPrefix(`/x`)"), Match(("b.org",), "")],
        ),
        ("Host(`a.org`) && !PathPrefix(`/x`)", [Match(HOST, "!PathPrefix(`/x`)")]),
        ("Host(`a.org`) && Path(`/{id}`)", [Match(HOST, "PathRegexp(`^/[^/]+$`)")]),
        (
            "Host(`a.org`) && PathPrefix(`/{v:v[0-9]{1,2}}/a.b`)",
            [Match(HOST, r"PathRegexp(`^/(?:v[0-9]{1,2})/a\.b`)")],
        ),
        ("Headers(`K`, `v`)", [Match((), "Header(`K`, `v`)")]),
        ("HeadersRegexp(`K`, `v+`)", [Match((), "HeaderRegexp(`K`, `v+`)")]),
        ("Query(`a=1`)", [Match((), "Query(`a`, `1`)")]),
        ("Query(`a`, `1`)", [Match((), "Query(`a`, `1`)")]),
        ("Method(`GET`, `POST`)", [Match((), "Method(`GET`) || Method(`POST`)")]),
        ("Host(`a.org`) || Host(`a.org`) && PathPrefix(`/x`)", [Match(HOST, "")]),
    ],
)
def test_versions_2_and_3(rule: str, matches: list[Match]) -> None:
    assert parse(rule) == matches


@pytest.mark.parametrize(
    "rule",
    [
        "HostRegexp(`{sub:[a-z]+}.a.org`)",
        "HostSNI(`*`)",
        "Host(`a.org`",
        "Host(`a.org`) &&",
        "Host(a.org)",
        "Host(`a.org`) Host(`b.org`)",
        "Host(`a.org`) && Host(`b.org`)",
        "!Host(`a.org`)",
        "Banana(`x`)",
        " && ".join(["(Path(`/a`) || Path(`/b`))"] * 10),
    ],
)
def test_rules_that_cannot_be_carried_over_say_what_to_do(rule: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(rule)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("rule", "match", "middlewares"),
    [
        ("Host:a.org", Match(HOST, ""), {}),
        ("Host: A.org , b.org", Match(("a.org", "b.org"), ""), {}),
        ("Host:a.org;PathPrefix:/x,/y", Match(HOST, "(PathPrefix(`/x`) || PathPrefix(`/y`))"), {}),
        (
            "Host:a.org;PathPrefixStrip:/x",
            Match(HOST, "PathPrefix(`/x`)"),
            {"strip": {"stripprefix.prefixes": "/x"}},
        ),
        (
            "PathStrip:/x/{id:[0-9]+}",
            Match((), "PathRegexp(`^/x/(?:[0-9]+)$`)"),
            {"strip_regex": {"stripprefixregex.regex": "^/x/(?:[0-9]+)$"}},
        ),
        (
            "Host:a.org;AddPrefix:/app",
            Match(HOST, ""),
            {"addprefix": {"addprefix.prefix": "/app"}},
        ),
        (
            "Host:a.org;ReplacePathRegex: ^/a/(.*) /b/$1",
            Match(HOST, ""),
            {
                "replacepath": {
                    "replacepathregex.regex": "^/a/(.*)",
                    "replacepathregex.replacement": "/b/$1",
                }
            },
        ),
        ("Headers:K,v", Match((), "Header(`K`, `v`)"), {}),
        ("Host:a.org;Method:GET,HEAD", Match(HOST, "(Method(`GET`) || Method(`HEAD`))"), {}),
    ],
)
def test_version_1(rule: str, match: Match, middlewares: dict[str, dict[str, str]]) -> None:
    assert parse_legacy(rule) == (match, middlewares)


@pytest.mark.parametrize("rule", ["a.org", "Host:", "Banana:x", "HostRegexp:{s:[a-z]+}.a.org"])
def test_version_1_refusals(rule: str) -> None:
    with pytest.raises(RuleError):
        parse_legacy(rule)


@pytest.mark.parametrize(
    ("hosts", "rest", "text"),
    [
        (HOST, "", "Host(`a.org`)"),
        (("a.org", "b.org"), "", "Host(`a.org`) || Host(`b.org`)"),
        (
            ("a.org", "b.org"),
            "PathPrefix(`/x`)",
            "(Host(`a.org`) || Host(`b.org`)) && PathPrefix(`/x`)",
        ),
        (HOST, "Path(`/`) || Path(`/x`)", "Host(`a.org`) && (Path(`/`) || Path(`/x`))"),
        ((), "Path(`/`)", "Path(`/`)"),
    ],
)
def test_what_is_written_is_read_the_same(hosts: tuple[str, ...], rest: str, text: str) -> None:
    assert expression(hosts, rest) == text
    assert parse(text) == [Match(hosts, rest)]
