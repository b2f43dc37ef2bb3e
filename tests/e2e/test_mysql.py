"""A MySQL server, built from Debian's packages, is backed up, drilled and restored."""

from __future__ import annotations

import json

import pytest

from e2e.cloud import Operator, told
from e2e.conftest import own_recipe
from e2e.shelf import back_up

pytestmark = [pytest.mark.lab, pytest.mark.long]
LOGIN = "MYSQL_PWD=`cat /run/secrets/db_password` exec mysql --host=db --user=app"


def sql(operator: Operator, statement: str) -> str:
    """What the server answers to a statement, which is no argument."""
    return told(operator, "rows", f"{LOGIN} --batch --skip-column-names rows_kept", statement)


def test_mysql_comes_back_as_it_was(kept: Operator) -> None:
    kept.ronron("deploy", own_recipe(kept, "rows"), "rows", "--yes", "--timeout", "500")
    assert sql(kept, "SELECT VERSION()").startswith("9.7.4")
    table = "CREATE TABLE told (id INT AUTO_INCREMENT PRIMARY KEY, words TEXT, bytes BLOB)"
    procedure = "CREATE PROCEDURE all_told () SELECT words, HEX(bytes) FROM told ORDER BY id"
    row = "INSERT INTO told (words, bytes) VALUES"
    sql(kept, f"{table}; {procedure}; {row} ('naïve ☕', x'00ff0a27'), ('second', NULL)")
    before = sql(kept, "CALL all_told()")
    assert before == "naïve ☕\t00FF0A27\nsecond\tNULL"

    made = back_up(kept, "rows")
    (dump,) = made["dumps"]
    assert (dump["database"], dump["engine"]) == ("db", "mysql")
    (drilled,) = json.loads(kept.ronron("drill", "rows", "--json")[0])
    assert drilled["passed"], drilled
    sql(kept, "DELETE FROM told WHERE id = 1; DROP PROCEDURE all_told; CREATE TABLE later (n INT)")

    out, _ = kept.ronron("restore", "rows", "--yes", "--json")
    assert json.loads(out)["databases"] == ["db"]
    assert sql(kept, "CALL all_told()") == before
    assert sql(kept, "SHOW TABLES") == "told"
    assert kept.plan() == []
