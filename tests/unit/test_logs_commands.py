"""`ronron logs`: what is asked for, and what is shown of the answer."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ronron.cli import main
from ronron.cli.logs import shown
from ronron.errors import OperatorError, RonronError
from ronron.plan import logs
from ronron.plan.inside import _check, logs_command
from ronron.plan.logs import Wanted, check, expression, moment
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.load import LoadedSite
from ronron.site.models import App, Site

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SITE = Site(name="cats", domain="example.org", contact="cat@example.org")


def wanted(**values: Any) -> Wanted:
    return Wanted(**{"kind": "access", "of": "blog", **values})


def test_what_is_asked_for() -> None:
    assert expression(wanted()) == 'app:="blog"'
    assert expression(wanted(kind="app", service="web")) == 'app:="blog" service:="web"'
    assert expression(wanted(kind="system", of="worker-1")) == 'server:="worker-1"'
    assert expression(wanted(status="5xx")) == 'app:="blog" status:~"^5"'
    assert expression(wanted(status="404")) == 'app:="blog" status:="404"'


@pytest.mark.parametrize(
    ("typed", "quoted"),
    [
        ("a b", r'"(?i)a\\ b"'),
        ('" or app:*', r'"(?i)\"\\ or\\ app:\\*"'),
        ("a\\", r'"(?i)a\\\\"'),
        ("(.*)|x", r'"(?i)\\(\\.\\*\\)\\|x"'),
        ("été 😺", '"(?i)été\\\\ 😺"'),
        ("\udcff", r'"(?i)\\?"'),
    ],
)
def test_what_is_typed_is_searched_as_it_is(typed: str, quoted: str) -> None:
    assert expression(wanted(search=typed)) == f'app:="blog" _msg:~{quoted}'


def test_moments() -> None:
    assert moment("10m", NOW) == NOW - timedelta(minutes=10)
    assert moment("3d", NOW) == NOW - timedelta(days=3)
    assert moment("2026-11-20T08:00:00+00:00", NOW) == datetime(2026, 11, 20, 8, tzinfo=UTC)
    with pytest.raises(OperatorError, match=r"--since yesterday: is no time \(such as 10m"):
        moment("yesterday", NOW)


@pytest.mark.parametrize("text", ["999999w", "999999d", "0001-01-01", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match=f"--since {text}: is no time"):
        moment(text, NOW)


@pytest.mark.parametrize("status", ["6xx", "5x", "abc", "99", '5" or *'])
def test_a_status_that_is_none_is_refused(status: str) -> None:
    with pytest.raises(OperatorError, match="is no HTTP status"):
        check(wanted(status=status))
    check(wanted(status="204"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say whose"),
        (["blog", "--server", "one"], "Say whose"),
        (["--access", "blog", "--server", "one"], "Say whose"),
        (["--access", "blog", "web"], "of one alone"),
        (["blog", "--status", "404"], "--status is of requests"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
    )
    assert main.run(["--site", str(tmp_path), "logs", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_whoever_follows_is_told_when_the_store_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "EVERY", 0)
    line = json.dumps({"_time": "2026-11-27T12:00:00Z", "_msg": "meow"}).encode()
    answers = iter([line, line, Answer(status=1, stderr=b"No such container: 1f\n")])
    runner = RecordingRunner(answers={"docker exec": lambda argv, stdin: next(answers)})
    asked = wanted(follow=True)
    first = logs._first(runner, "1f", asked)
    told = logs._and_more(runner, "1f", asked, first)
    assert next(told)["message"] == "meow"
    with pytest.raises(RonronError, match="does not answer any more: No such container") as caught:
        next(told)
    assert "follow again" in caught.value.remedy


def test_a_service_that_an_app_does_not_have_is_told() -> None:
    _check(["db", "web"], "blog", "web")
    with pytest.raises(OperatorError, match=r"blog has no service wbe \(it has: db, web\)"):
        _check(["db", "web"], "blog", "wbe")
    with pytest.raises(OperatorError, match="blog is not deployed"):
        _check([], "blog", "web")


def test_nothing_found_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
    )
    found: list[logs.Line] = []
    monkeypatch.setattr(logs, "read", lambda session, wanted: ("", iter(found)))
    arguments = ["--site", str(tmp_path), "logs", "blog", "--json"]
    assert main.run(arguments) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "no such lines\n")
    found.append({"message": "meow"})
    assert main.run(arguments) == 0
    assert capsys.readouterr().err == ""


def test_lines_are_never_asked_for_by_number() -> None:
    argv = logs_command("blog", "web", follow=True, since=NOW)
    assert argv == [
        "docker", "service", "logs", "--follow", "--since", f"{NOW.timestamp():.0f}", "blog_web",
    ]  # fmt: skip


def test_requests_in_the_proxys_own_log_keep_clients_that_are_shortened_to_themselves() -> None:
    request = {
        "ClientHost": "192.0.2.77", "DownstreamStatus": 404, "RequestHost": "blog.example.org",
        "RequestMethod": "GET", "RequestPath": "/x", "RouterName": "blog_1@swarm",
        "StartUTC": "2026-11-27T12:00:00.123456789Z",
    }  # fmt: skip
    old = {**request, "StartUTC": "2026-11-27T11:59:59.9Z"}
    lines = [json.dumps(old), json.dumps(request), '{"level":"info"}', "not JSON"]

    def found(how: str, **values: Any) -> list[logs.Line]:
        app = App.model_validate({"name": "blog", "recipe": "ghost", "logs": {"addresses": how}})
        session: Any = type(
            "Session", (), {"loaded": LoadedSite(Path("/nowhere"), SITE, {"blog": app})}
        )
        return list(logs._requests(session, lines, wanted(**values), "2026-11-27T12:00:00"))

    (line,) = found("whole")
    assert line["message"] == "GET blog.example.org/x 404"
    assert line["client"] == "192.0.2.77"
    assert "client" not in found("truncated")[0]
    assert found("whole", status="5xx") == found("whole", of="wiki") == []
    lines[:] = [json.dumps({**request, "ServiceName": "blog_admin@swarm"})]
    assert "client" not in found("truncated")[0]
    lines[:] = [json.dumps({**request, "RouterName": "web-to-websecure@internal"})]
    assert found("whole", of="proxy")[0]["client"] == "192.0.2.77"
    assert "client" not in found("truncated", of="proxy")[0]


def test_the_access_logs_older_files_are_read_first_and_from_a_time_on(tmp_path: Path) -> None:
    def line(at: str, path: str) -> str:
        return f'{{"RequestPath":"{path}","StartUTC":"2026-11-27T{at}.5Z","level":"info"}}\n'

    for began, text in (
        ("1764244920", line("12:02:00", "/4")),
        ("1764244860", line("12:01:00", "/3")),
        ("1764244800", line("11:59:59", "/1") + line("12:00:00", "/2")),
    ):
        (tmp_path / f"access-{began}.log").write_text(text)
    (tmp_path / "access.log").symlink_to("access-1764244920.log")
    argv = ["sh", "-c", logs._SINCE, "sh", str(tmp_path), "2026-11-27T12:00:00"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    found = [json.loads(one)["RequestPath"] for one in done.stdout.splitlines()]
    assert (found, done.stderr) == (["/2", "/3", "/4"], "")


def test_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"time": "2026-11-27T12:06:21.325646123Z", "server": "one", "app": "blog"}
    at = datetime(2026, 11, 27, 12, 6, 21, tzinfo=UTC).astimezone()
    assert shown({**line, "service": "web", "message": "meow"}) == (
        f"{at:%Y-%m-%d %H:%M:%S} one blog/web | meow"
    )
    request = {**line, "client": "192.0.2.0", "message": "GET / 200", "duration": "7"}
    assert shown(request).endswith("one 192.0.2.0 | GET / 200 7 ms")
    assert shown({"message": "as it came"}) == "as it came"
