"""The PostgreSQL image that ronron builds, run by itself the way recipes ask for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from docker.models.containers import Container

from e2e.cloud import eventually
from e2e.containers import Box, execute, healthy, stack, stopped
from ronron.catalog.recipe import find
from ronron.engine.client import connect

pytestmark = pytest.mark.lab
PASSWORD = 'it\'s a "test" \\ & more'
DATA = "/var/lib/postgresql/data"


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerClient]:
    with connect() as client:
        yield client


@pytest.fixture
def box(engine: DockerClient, tmp_path: Path) -> Iterator[Box]:
    box = Box(engine, tmp_path)
    try:
        yield box
    finally:
        box.close()


def query(database: Container, sql: str, host: str = "127.0.0.1") -> str:
    """Ask the database over TCP."""
    script = (
        'PGPASSWORD="$(cat /run/secrets/db_password)" exec psql --host="$1" --username=synapse '
        '--dbname=synapse --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$0"'
    )
    status, output = execute(database, "sh", "-c", script, sql, host)
    assert status == 0, output
    return output.strip()


def test_postgres_starts_once_keeps_its_data_and_wants_the_password(box: Box) -> None:
    database = box.start(stack("synapse"), "db", {"db_password": PASSWORD})
    healthy(database)
    assert query(database, "SELECT datcollate FROM pg_database WHERE datname = 'synapse'") == "C"
    query(database, "CREATE TABLE kept (n INT); INSERT INTO kept VALUES (42)", "db")
    stranger = ["env", "PGPASSWORD=wrong", "psql", "--host=db", "--username=synapse", "--list"]
    status, output = execute(database, *stranger)
    assert status == 2
    assert "password authentication failed" in output
    assert stopped(database) == 0
    database.start()
    healthy(database)
    assert query(database, "SELECT n FROM kept", "db") == "42"
    log = database.logs().decode()
    assert log.count(f"preparing {DATA}") == 1
    assert "received fast shutdown request" in log
    assert "was not properly shut down" not in log
    assert PASSWORD not in log


def test_a_dump_brings_back_exactly_what_was_there(box: Box) -> None:
    database = box.start(stack("synapse"), "db", {"db_password": "simple"})
    healthy(database)
    rules = find("synapse").extension.databases["db"]
    query(database, "CREATE TABLE kept (n INT); INSERT INTO kept VALUES (42)")
    status, dump = execute(database, *rules.dump)
    assert status == 0, dump
    assert "PostgreSQL database dump complete" in dump
    query(database, "UPDATE kept SET n = 1; CREATE TABLE later (n INT)")
    restore = ["docker", "exec", "-i", str(database.id), *rules.restore]
    broken = subprocess.run(restore, input=f"{dump}\nbroken;", text=True, capture_output=True)
    assert broken.returncode != 0
    assert query(database, "SELECT n FROM kept") == "1"
    subprocess.run(restore, input=dump, text=True, check=True)
    assert query(database, "SELECT n FROM kept") == "42"
    assert query(database, "SELECT to_regclass('later') IS NULL") == "t"


def test_an_interrupted_first_start_begins_again(box: Box) -> None:
    database = box.start(stack("synapse"), "db", {"db_password": "one"})
    marker = f"{DATA}/.ronron-first-start"
    eventually(lambda: execute(database, "test", "-e", f"{marker}/PG_VERSION")[0] == 0)
    database.kill()
    database.start()
    healthy(database)
    assert query(database, "SELECT 1", "db") == "1"
    assert b"the first start was interrupted" in database.logs()
    assert execute(database, "test", "-e", marker)[0] == 1


def test_postgres_refuses_to_start_without_a_password(box: Box) -> None:
    database = box.start(stack("synapse"), "db", environment={"POSTGRES_PASSWORD_FILE": ""})
    assert database.wait(timeout=60)["StatusCode"] == 1
    assert b"POSTGRES_PASSWORD" in database.logs()
    assert b"preparing" not in database.logs()


def test_as_root_it_takes_the_folder_and_runs_scripts_once(box: Box) -> None:
    image = box.image(stack("synapse"), "db")
    box.folder.chmod(0o755)
    (box.folder / "1-table.sql").write_text(
        "CREATE TABLE made (n INT); INSERT INTO made VALUES (7)"
    )
    (box.folder / "2-more.sh").write_text(
        'psql -U "$POSTGRES_USER" -c "INSERT INTO made VALUES (8)" "$POSTGRES_USER"\n'
    )
    database = box.engine.containers.create(
        image,
        environment={"POSTGRES_USER": "me", "POSTGRES_PASSWORD": "x"},
        volumes={str(box.folder): {"bind": "/docker-entrypoint-initdb.d", "mode": "ro"}},
    )
    box.containers.append(database)
    database.start()
    count = ["psql", "--host=127.0.0.1", "--username=me", "--no-align", "--tuples-only",
             "--command=SELECT sum(n) FROM made"]  # fmt: skip
    eventually(lambda: execute(database, *count) == (0, "15\n"))
    assert execute(database, "stat", "-c", "%U", DATA, f"{DATA}/PG_VERSION")[1].split() == [
        "postgres", "postgres"
    ]  # fmt: skip
    assert execute(database, "psql", "-Ume", "-Atc", "SHOW server_encoding")[1] == "UTF8\n"
    collation = "SELECT datcollate FROM pg_database WHERE datname = 'me'"
    assert execute(database, "psql", "-Ume", "-Atc", collation)[1] == "en_US.utf8\n"
