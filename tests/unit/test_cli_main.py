"""The command frame: what it imports, where errors are printed, and with which exit status."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

from ronron.cli import main
from ronron.errors import OperatorError, Problem, ServerError, SiteError

HEAVY = [
    "ansible",
    "cryptography",
    "dns",
    "docker",
    "gevent",
    "httpx",
    "jinja2",
    "paramiko",
    "pydantic",
    "pyinfra",
    "pyrage",
    "rich",
    "ruamel",
    "yaml",
]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("RONRON_SITE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The status of a command line whose command raises `error`."""

    @click.command()
    def command() -> NoReturn:
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    return main.run(["plan"])


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"], [], ["nonsense"]])
def test_help_imports_nothing_but_click(arguments: list[str]) -> None:
    done = python(
        f"import sys; from ronron.cli.main import run; run({arguments!r});"
        f"print('imported', [m for m in {HEAVY} if m in sys.modules])"
    )
    assert done.stdout.endswith("imported []\n")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_is_there_and_its_help_imports_nothing_heavy(name: str) -> None:
    done = python(
        f"import sys; from ronron.cli.main import run; status = run([{name!r}, '--help']);"
        f"print('status', status, [m for m in {HEAVY} if m in sys.modules])"
    )
    assert done.stdout.startswith(f"Usage: ronron {name} "), done.stderr
    assert done.stdout.endswith("status 0 []\n")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, about) in main.COMMANDS.items():
        assert f"  {name} " in text
        assert about[:40] in text


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    assert "Usage: ronron" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depoy"], "error: There is no command depoy (did you mean deploy?).\n"),
        (["xyzzy"], "error: There is no command xyzzy (see ronron --help).\n"),
        (["schema", "x"], "error: Invalid value for '[ronron|app]': 'x' is not one of"),
        (["--nonsense"], "error: No such option '--nonsense'"),
        (["apply", "--timeout", "-1"], "error: Invalid value for '--timeout': -1: give more"),
        (["drill", "--timeout", "inf"], "error: Invalid value for '--timeout': inf: give more"),
        (["move", "--timeout", "nan"], "error: Invalid value for '--timeout': nan: give more"),
        (["server", "add"], "error: Missing argument 'ADDRESS...'"),
    ],
)
def test_a_command_line_that_is_none(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1


def test_an_operator_s_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OperatorError("apps/a.yml: no", remedy="say yes", details=["one", "two"])
    assert failing(monkeypatch, error) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: apps/a.yml: no (say yes)\n  one\n  two\n"
    assert captured.out == ""


def test_a_failure_of_the_world(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(monkeypatch, ServerError("worker-1", "is on fire", remedy="leave")) == 1
    assert capsys.readouterr().err == "error: worker-1: is on fire (leave)\n"


def test_all_faults_of_a_site_are_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Problem("ronron.yml", "name", "missing", "add it"), Problem("apps/a.yml", "", "no")]
    assert failing(monkeypatch, SiteError(found)) == 2
    assert capsys.readouterr().err == (
        "error: ronron.yml: name: missing (add it)\nerror: apps/a.yml: no\n"
    )


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_a_bug_is_one_line_and_its_traceback_in_a_private_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    assert failing(monkeypatch, KeyError("oops")) == 1
    (path,) = (state / "ronron").iterdir()
    assert capsys.readouterr().err == (
        f"error: a bug in ronron: KeyError (its traceback is in {path})\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert "KeyError: 'oops'" in path.read_text()
    assert "in command" in path.read_text()


def test_a_bug_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    state.write_text("not a folder")
    assert failing(monkeypatch, KeyError("oops")) == 1
    assert "KeyError (its traceback could not be saved in" in capsys.readouterr().err


def test_a_command_s_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> int:
        return 7

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    assert main.run(["plan"]) == 7


def test_the_site_is_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    (site / "apps").mkdir(parents=True)
    (site / "ronron.yml").write_text("name: a\ndomain: a.org\ncontact: a@a.org\n")
    assert main.run(["server", "list"]) == 2
    assert f"{tmp_path} is not a ronron site" in capsys.readouterr().err
    assert main.run(["--site", str(site), "server", "list"]) == 0
    monkeypatch.setenv("RONRON_SITE", str(site))
    assert main.run(["server", "list"]) == 0
    monkeypatch.delenv("RONRON_SITE")
    monkeypatch.chdir(site / "apps")
    assert main.run(["server", "list"]) == 0
    assert main.run(["--site", str(tmp_path / "nowhere"), "server", "list"]) == 2


def test_nobody_reads_the_output() -> None:
    code = "import sys; from ronron.cli.main import run; sys.exit(run(['schema']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize(("no_color", "red"), [("", True), ("1", False)])
def test_an_error_is_red_on_a_terminal_that_wants_colours(no_color: str, red: bool) -> None:
    primary, secondary = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "ronron.cli.main", "xyzzy"],
        stderr=secondary,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
    )
    os.close(secondary)
    text = os.read(primary, 1000)
    os.close(primary)
    assert done.returncode == 2
    assert (b"\x1b[31m" in text) is red


@pytest.mark.parametrize("command", [["recipe", "show"], ["recipe", "new"], ["init"]])
def test_a_name_that_is_too_long_is_no_bug(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if command != ["init"]:
        text = "name: a\ndomain: example.org\ncontact: a@example.org\n"
        (tmp_path / "ronron.yml").write_text(text)
    assert main.run([*command, "x" * 300]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {'x' * 60}… is too long for a name (files' have at most 255 bytes)\n"
