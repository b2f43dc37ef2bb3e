"""Apps on the cloud: updated, rolled back, removed, looked into, and refused."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from e2e.cloud import Operator, answers, page
from ronron.catalog.recipe import builtin_folder, find

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("blog", "hi")]


def test_a_bad_update_is_rolled_back_and_the_old_version_keeps_answering(
    operator: Operator,
) -> None:
    failures: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            if not answers(operator, "hi", "/"):
                failures.append(time.strftime("%H:%M:%S"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        arguments = ("upgrade", "hi", "--set", "version=broken", "--yes")
        _, err = operator.ronron(*arguments, status=1)
    finally:
        over.set()
        watcher.join()
    assert "the new version of web did not work" in err
    assert failures == []
    assert "version" in page(operator, "hi")
    assert "broken" not in (operator.folder / "apps" / "hi.yml").read_text()
    assert operator.plan() == []


def test_upgrade_and_rollback(operator: Operator) -> None:
    operator.ronron("upgrade", "hi", "--set", "version=2", "--yes")
    assert '<b id="version">2</b>' in page(operator, "hi")
    _, err = operator.ronron("rollback", "hi", "--yes")
    assert '<b id="version">1</b>' in page(operator, "hi")
    assert "not as it was" not in err
    assert operator.plan() == []


def test_a_rollback_says_that_the_recipe_is_another_now(operator: Operator) -> None:
    operator.ronron("upgrade", "hi", "--set", "version=3", "--yes")
    own = operator.folder / "recipes" / "hello"
    shutil.copytree(builtin_folder() / "hello", own)
    with (own / "stack.yml").open("a") as stack:
        stack.write("# An operator's own.\n")
    try:
        _, err = operator.ronron("rollback", "hi", "--yes")
    finally:
        shutil.rmtree(own)
    assert "the recipe hello is not as it was then" in err
    assert operator.plan() == []


def test_a_certificate_that_is_refused_is_reported_with_the_acme_servers_words(
    operator: Operator,
) -> None:
    domain = operator.lab.refused_domain
    arguments = ("deploy", "hello", "no", "--domain", domain, "--timeout", "30", "--yes")
    _, err = operator.ronron(*arguments, status=1)
    assert "no certificate" in err
    assert "rejectedIdentifier" in err or "policy" in err.lower(), err
    operator.ronron("remove", "no", "--delete-data", "--yes")


def test_a_stack_file_of_2018(operator: Operator) -> None:
    file = Path(__file__).parent / "ghost-2018.yml"
    answer = operator.deploy(
        str(file), "old", "--set", f"DOMAIN=old.{operator.lab.domain}",
        "--domain", f"old.{operator.lab.domain}", "--timeout", "400",
    )  # fmt: skip
    assert answer["status"] == 200
    _, err = operator.ronron("deploy", str(file), "old", "--yes")
    assert "traefik" in err.lower()
    operator.ronron("remove", "old", "--yes")


def test_the_dump_of_a_database_restores_what_was_lost(operator: Operator) -> None:
    database = find("ghost").extension.databases["db"]

    def inside(*command: str, stdin: str = "") -> str:
        process = operator.start("shell", "blog", "--service", "db", *command, stdin=stdin)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def title() -> str:
        """The blog's title, as its database has it."""
        query = "SELECT value FROM ghost.settings WHERE `key` = 'title'"
        return inside("sh", "-c", f"{login} --batch --skip-column-names", stdin=query).strip()

    login = "MYSQL_PWD=`cat /run/secrets/db_password` exec mariadb --user=ghost --host=db"
    before = title()
    assert before
    dump = inside(*database.dump)
    assert "-- Dump completed" in dump
    inside("sh", "-c", login, stdin="UPDATE ghost.settings SET value = 'lost'")
    assert title() == "lost"
    inside(*database.restore, stdin=dump)
    assert title() == before


def test_remove_leaves_nothing_in_the_swarm(operator: Operator) -> None:
    def there() -> str:
        kinds = ("service", "network", "secret", "config")
        listings = [
            operator.on("manager", "docker", kind, "ls", "--format", "{{.Name}}") for kind in kinds
        ]
        return "\n".join(listings)

    def left() -> list[str]:
        return [
            name
            for name in there().split()
            if name.startswith(
                ("blog_", "old_", "no_", "ronron.blog.", "ronron.old.", "ronron.no.")
            )
        ]

    assert left()
    operator.ronron("remove", "blog", "--yes")
    assert left() == []
    assert operator.on("manager", "ls", "/srv/ronron/volumes/blog")
    assert not (operator.folder / "apps" / "blog.yml").exists()
    assert (operator.folder / "vault" / "blog.age").exists()
    for server in ("manager", "worker-1", "worker-2"):
        assert "blog" not in operator.on(server, "docker", "volume", "ls", "-q")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deploy", "gost", "x"], "there is no recipe gost (did you mean ghost?)"),
        (["deploy", "hello", "other", "--domain", "hi.DOMAIN"], "is already taken by app hi"),
        (["deploy", "hello", "x", "--set", "colour=red"], "unknown parameter"),
        (["deploy", "hello", "x", "--set", "drain_seconds=soon"], "must be a whole number"),
        (["deploy", "ghost", "hi"], "is there already, from hello"),
        (["deploy", "hello", "proxy"], "is an app of the platform"),
        (["remove", "nothing", "--yes"], "there is no app nothing"),
        (["apply"], "add --yes"),
    ],
)
def test_the_operators_mistakes_change_nothing(
    operator: Operator, arguments: list[str], said: str
) -> None:
    if arguments == ["apply"]:
        operator.on(
            "manager", "docker", "service", "update", "--detach", "--env-add", "Y=1", "hi_web"
        )
    before = {p: p.read_bytes() for p in operator.folder.rglob("*") if p.is_file()}
    words = [word.replace("DOMAIN", operator.lab.domain) for word in arguments]
    _, err = operator.ronron(*words, status=2)
    assert said in err
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in operator.folder.rglob("*") if p.is_file()} == before


def test_logs_shell_list_and_status(operator: Operator) -> None:
    operator.ronron("apply", "--yes")
    out, _ = operator.ronron("shell", "hi", "id", "-u")
    assert out.strip() == "65534"
    assert "hi" in operator.ronron("list")[0]
    status = json.loads(operator.ronron("status", "--json")[0])
    assert status["ok"] is True
    hello = next(app for app in status["apps"] if app["name"] == "hi")
    assert hello["answer"]["status"] == 200
    process = operator.start("logs", "socket-proxy", "-f")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.terminate()
    process.communicate()
