"""Services of the catalog on PostgreSQL: used over HTTPS, dumped, lost, and brought back."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from e2e.client import deployed
from e2e.cloud import Operator, answers, eventually
from ronron.catalog.recipe import find

pytestmark = [pytest.mark.lab, pytest.mark.long]
PASSWORD = "Correct-h0rse battery"


def said(answer: httpx.Response) -> Any:
    """What a request was answered, which must be a success."""
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text[:500]}"
    return answer.json()


def inside(operator: Operator, name: str, service: str, *command: str, stdin: str = "") -> str:
    process = operator.start("shell", name, "--service", service, *command, stdin=stdin)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def checks_hold(operator: Operator, recipe: str, name: str) -> bool:
    """Whether the recipe's data checks, which drills make, find what must be there."""
    for check in find(recipe).extension.checks.values():
        listed = []
        if check.command:
            words = ("shell", name, "--service", check.service, *check.command)
            process = operator.start(*words)
            out, _ = process.communicate(timeout=120)
            listed = out.split() if process.returncode == 0 else []
            if check.rows and not listed:
                return False
        folder = f"/srv/ronron/volumes/{name}/{check.volume}"
        for path in listed if check.listed else ():
            operator.on("manager", "test", "-s", f"{folder}/{path}")
        if check.file:
            glob = "import pathlib, sys; print(*pathlib.Path(sys.argv[1]).glob(sys.argv[2]))"
            assert operator.on("manager", "python3", "-c", glob, folder, check.file), check.about
    return True


def lose_and_restore(operator: Operator, recipe: str, name: str, health: str) -> None:
    """Dump the app's database, stop the app, lose all that is in it, and bring the dump back."""
    database = find(recipe).extension.databases["db"]
    login = (
        f"PGPASSWORD=`cat /run/secrets/db_password` exec psql --host=db --username={recipe} "
        f"--dbname={recipe} --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1"
    )

    def query(sql: str) -> str:
        return inside(operator, name, "db", "sh", "-c", login, stdin=sql).strip()

    def tables() -> int:
        return int(query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))

    dump = inside(operator, name, "db", *database.dump)
    assert "PostgreSQL database dump complete" in dump
    # Those of the dump, not of a moment before: a program that began just now still makes some.
    dumped = len(re.findall(r"^CREATE (?:UNLOGGED )?TABLE public\.", dump, re.MULTILINE))
    assert dumped > 20
    assert checks_hold(operator, recipe, name)
    operator.on("manager", "docker", "service", "scale", f"{name}_web=0")
    query("SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert tables() == 0
    assert not checks_hold(operator, recipe, name)
    inside(operator, name, "db", *database.restore, stdin=dump)
    assert tables() == dumped
    operator.on("manager", "docker", "service", "scale", f"{name}_web=1")
    eventually(lambda: answers(operator, name, health), 240)


def test_people_talk_on_synapse_and_a_restore_brings_their_words_back(operator: Operator) -> None:
    with deployed(operator, "synapse", "matrix") as client:
        register = (
            "cat > /tmp/password && register_new_matrix_user --config /tmp/homeserver.yaml --admin"
            " --user ada --password-file /tmp/password http://127.0.0.1:8008; rm /tmp/password"
        )
        inside(operator, "matrix", "web", "sh", "-c", register, stdin=PASSWORD)
        who = {"type": "m.id.user", "user": "ada"}
        wrong = {"type": "m.login.password", "identifier": who, "password": "wrong"}
        assert client.post("/_matrix/client/v3/login", json=wrong).status_code == 403
        login = said(client.post("/_matrix/client/v3/login", json={**wrong, "password": PASSWORD}))
        assert login["user_id"] == f"@ada:matrix.{operator.lab.domain}"
        client.headers["Authorization"] = f"Bearer {login['access_token']}"
        room = said(client.post("/_matrix/client/v3/createRoom", json={"name": "Cats"}))["room_id"]
        path = f"/_matrix/client/v3/rooms/{room}"
        message = {"msgtype": "m.text", "body": "The cat purrs"}
        said(client.put(f"{path}/send/m.room.message/1", json=message))
        upload = said(client.post("/_matrix/media/v3/upload", content=b"a file"))["content_uri"]

        def words() -> list[str]:
            found = said(client.get(f"{path}/messages", params={"dir": "b"}))["chunk"]
            return [event["content"]["body"] for event in found if "body" in event["content"]]

        def file() -> bytes:
            media = upload.removeprefix("mxc://")
            return client.get(f"/_matrix/client/v1/media/download/{media}").content

        assert (words(), file()) == (["The cat purrs"], b"a file")
        lose_and_restore(operator, "synapse", "matrix", "/_matrix/client/versions")
        assert (words(), file()) == (["The cat purrs"], b"a file")


def test_a_workflow_of_n8n_answers_before_and_after_a_restore(operator: Operator) -> None:
    with deployed(operator, "n8n", "flows") as client:
        client.headers["browser-id"] = "a-browser"
        owner = {"email": "ada@example.org", "firstName": "Ada", "lastName": "L"}
        said(client.post("/rest/owner/setup", json={**owner, "password": PASSWORD}))
        client.cookies.clear()
        assert client.get("/rest/workflows").status_code == 401
        login = {"emailOrLdapLoginId": owner["email"], "password": PASSWORD}
        said(client.post("/rest/login", json=login))
        made = said(client.post("/rest/workflows", json=workflow()))["data"]
        activation = {"versionId": made["versionId"]}
        said(client.post(f"/rest/workflows/{made['id']}/activate", json=activation))

        def purr() -> bool:
            answer = client.get("/webhook/cat", params={"name": "Minou"})
            return answer.is_success and answer.json() == {"says": "Minou purrs"}

        eventually(purr)
        lose_and_restore(operator, "n8n", "flows", "/healthz/readiness")
        eventually(purr)
        found = said(client.get("/rest/workflows"))["data"]
        assert [workflow["name"] for workflow in found] == ["Cat"]


def workflow() -> dict[str, Any]:
    """A workflow that answers a request, by way of a program that n8n's task runner runs."""
    program = "return [{json: {says: $input.first().json.query.name + ' purrs'}}]"
    hook = {"path": "cat", "httpMethod": "GET", "responseMode": "lastNode"}
    nodes = [
        ("Webhook", "n8n-nodes-base.webhook", 2, hook),
        ("Code", "n8n-nodes-base.code", 2, {"jsCode": program}),
    ]
    return {
        "name": "Cat",
        "nodes": [
            {"id": name, "name": name, "type": kind, "typeVersion": version,
             "position": [place * 200, 0], "parameters": parameters,
             **({"webhookId": "cat"} if name == "Webhook" else {})}
            for place, (name, kind, version, parameters) in enumerate(nodes)
        ],
        "connections": {"Webhook": {"main": [[{"node": "Code", "type": "main", "index": 0}]]}},
        "settings": {"executionOrder": "v1"},
    }  # fmt: skip
