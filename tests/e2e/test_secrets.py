"""A Ghost's passwords: changed while it runs, interrupted, and read without ronron."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from e2e.cloud import Operator, answers, eventually, page

pytestmark = pytest.mark.lab
APP = "news"
AWKWARD = "n'\\\"w  #%$x` é"
USERS = {"db_password": "ghost", "db_root_password": "root"}


@pytest.fixture(scope="module", autouse=True)
def news(operator: Operator) -> Iterator[None]:
    operator.deploy("ghost", APP, "--timeout", "500")
    operator.ronron("upgrade", APP, "--set", "mail_port=2525", "--yes")
    yield
    operator.ronron("remove", APP, "--delete-data", "--yes")


def values(operator: Operator) -> dict[str, str]:
    """What the vault says."""
    known: dict[str, str] = json.loads(
        operator.ronron("secrets", "show", APP, "--reveal", "--json")[0]
    )
    return known


def taken(operator: Operator, secret: str, value: str) -> bool:
    """Whether the database takes a password of the user that `secret` is of."""
    script = 'MYSQL_PWD=$(cat) mariadb --no-defaults --host=127.0.0.1 --user="$1" -e "SELECT 1"'
    command = ("sh", "-c", script, "sh", USERS[secret])

    def answer() -> str | None:
        """What the database said; None while it is being restarted."""
        process = operator.start("shell", APP, "--service", "db", *command, stdin=value)
        _, err = process.communicate(timeout=60)
        if process.returncode and "ERROR 1045" not in err:
            return None
        return "refused" if process.returncode else "taken"

    return eventually(answer, 120) == "taken"


def in_the_swarm(operator: Operator) -> set[str]:
    """The Docker secrets of the app."""
    names = operator.on("manager", "docker", "secret", "ls", "--format", "{{.Name}}").split()
    return {name for name in names if name.startswith(f"{APP}_")}


def works(operator: Operator) -> bool:
    """Whether Ghost answers from its database."""
    return answers(operator, APP, "/ghost/api/admin/site/")


def rotation(operator: Operator, *arguments: str, killed_at: str, stdin: str = "") -> str:
    """Begin `ronron secrets …` and kill it when it says something; returns what it said."""
    process = operator.start("secrets", *arguments, "--yes", stdin=stdin)
    timer = threading.Timer(300, process.kill)
    timer.start()
    said = ""
    try:
        assert process.stderr
        for line in process.stderr:
            said += line
            if killed_at in line:
                process.send_signal(signal.SIGKILL)
                break
    finally:
        timer.cancel()
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said + out + err
    return said


def test_both_passwords_are_changed_while_it_runs(operator: Operator) -> None:
    before, there = values(operator), in_the_swarm(operator)
    out, err = operator.ronron("secrets", "rotate", APP, "--yes")
    after = values(operator)
    assert "works with a new db_password, db_root_password" in out
    for secret in USERS:
        assert after[secret] != before[secret]
        assert taken(operator, secret, after[secret])
        assert not taken(operator, secret, before[secret])
        for value in (before[secret], after[secret]):
            assert value not in out + err
    assert not in_the_swarm(operator) & there, "the old values are gone from the swarm"
    assert len(in_the_swarm(operator)) == 2
    assert works(operator)
    assert operator.plan() == []
    assert operator.ronron("secrets", "check")


@pytest.mark.parametrize(
    "moment", ["let both values of db_password work … done", "services: ", "services … done"]
)
def test_a_rotation_that_is_killed_leaves_it_at_work_and_is_finished(
    operator: Operator, moment: str
) -> None:
    before = values(operator)["db_password"]
    rotation(operator, "rotate", APP, "db_password", killed_at=moment)
    now = values(operator)["db_password"]
    assert taken(operator, "db_password", before), "the old value works"
    assert taken(operator, "db_password", now), "what the vault says works"
    eventually(lambda: works(operator), 180)
    out, _ = operator.ronron("secrets", "check", status=1)
    assert "db_password: its rotation was interrupted" in out
    operator.ronron("secrets", "rotate", APP, "db_password", "--yes")
    after = values(operator)["db_password"]
    assert after != before
    assert taken(operator, "db_password", after)
    assert not taken(operator, "db_password", before)
    assert works(operator)
    assert operator.plan() == []
    operator.ronron("secrets", "check")


def test_a_password_of_awkward_characters_is_set(operator: Operator) -> None:
    process = operator.start("secrets", "set", APP, "db_password", "--yes", stdin=f"{AWKWARD}\n")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert AWKWARD not in out + err
    assert values(operator)["db_password"] == AWKWARD
    assert taken(operator, "db_password", AWKWARD)
    assert works(operator)
    assert operator.plan() == []


def test_an_earlier_revision_comes_back_with_the_present_passwords(operator: Operator) -> None:
    file = operator.folder / "apps" / f"{APP}.yml"
    assert "2525" in file.read_text()
    operator.ronron("rollback", APP, "--to", "1", "--yes")
    assert "2525" not in file.read_text()
    assert values(operator)["db_password"] == AWKWARD
    assert works(operator)
    assert operator.plan() == []


def test_what_the_swarm_lost_comes_from_the_vault(operator: Operator) -> None:
    known = values(operator)
    operator.ronron("remove", APP, "--yes")
    assert in_the_swarm(operator) == set()
    answer = operator.deploy("ghost", APP, "--timeout", "500")
    assert answer["status"] == 200
    assert values(operator) == known
    assert len(in_the_swarm(operator)) == 2
    assert "Ghost" in page(operator, APP)


def test_a_lost_key_is_told_by_what_needs_it(operator: Operator) -> None:
    (key,) = operator.home.rglob("*.key")
    away = key.rename(key.with_suffix(".away"))
    try:
        for words in (
            ("plan",),
            ("apply", "--yes"),
            ("deploy", "ghost", APP, "--yes"),
            ("upgrade", APP, "--yes"),
            ("secrets", "rotate", APP, "--yes"),
        ):
            _, err = operator.ronron(*words, status=2)
            assert f"{key}: the site's key is missing" in err, words
            assert "ronron secrets init --recover" in err
    finally:
        away.rename(key)
    assert operator.plan() == []


def test_the_ordinary_age_tool_reads_the_vault(operator: Operator) -> None:
    container = operator.lab.server("worker-1").container
    operator.on("worker-1", "apt-get", "update", "-q")
    operator.on("worker-1", "apt-get", "install", "-q", "-y", "--no-install-recommends", "age")
    (key,) = operator.home.rglob("*.key")
    for path, name in ((key, "key"), (operator.folder / "vault" / f"{APP}.age", "file")):
        subprocess.run(["docker", "cp", str(path), f"{container}:/root/{name}"], check=True)
    plain = json.loads(operator.on("worker-1", "age", "-d", "-i", "/root/key", "/root/file"))
    operator.on("worker-1", "rm", "/root/key", "/root/file")
    assert plain["secrets"] == values(operator)
