"""The contract: each rule finds its fault, good recipes have none, and the catalog is good."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ronron.catalog import authoring
from ronron.catalog.healthchecks import fault
from ronron.catalog.licences import is_free
from ronron.catalog.lint import Finding, lint
from ronron.catalog.recipe import builtin_folder, find, load, names
from ronron.cli.main import run

GOOD: dict[str, Any] = {
    "x-ronron": {
        "title": "Wiki",
        "about": "Pages that everybody can edit",
        "license": "GPL-2.0-or-later",
        "web": {"service": "web", "port": 80},
        "secrets": ["db_password"],
        "parameters": {"title": {"about": "The wiki's title", "default": "Wiki"}},
        "volumes": {"data": {"class": "files"}, "db": {"class": "database"}},
        "databases": {
            "db": {
                "volume": "db",
                "engine": "mariadb",
                "dump": ["mariadb-dump", "--all-databases"],
                "restore": ["mariadb"],
            }
        },
        "checks": {
            "pages": {"about": "It has pages", "service": "db", "rows": ["mariadb"]},
            "images": {"about": "It has images", "volume": "data", "file": "*.png"},
        },
    },
    "services": {
        "web": {
            "image": "mediawiki:1.43.1",
            "environment": {"TITLE": "${title}", "DB_PASSWORD_FILE": "/run/secrets/db_password"},
            "secrets": ["db_password"],
            "volumes": ["data:/var/www/html/images"],
            "healthcheck": {"test": ["CMD", "curl", "-fs", "http://localhost/api.php"]},
            "deploy": {
                "resources": {"limits": {"memory": "512M"}, "reservations": {"memory": "128M"}}
            },
        },
        "db": {
            "image": "mariadb:11.8.3",
            "environment": {"MARIADB_PASSWORD_FILE": "/run/secrets/db_password"},
            "secrets": ["db_password"],
            "volumes": ["db:/var/lib/mysql"],
            "healthcheck": {"test": ["CMD", "healthcheck.sh", "--connect"]},
            "deploy": {
                "resources": {"limits": {"memory": "512M"}, "reservations": {"memory": "128M"}}
            },
        },
    },
    "secrets": {"db_password": {"external": True}},
    "volumes": {"data": {}, "db": {}},
}
README = "# Wiki\n\n## First steps\n\nOpen it.\n"


def check(tmp_path: Path, content: dict[str, Any], readme: str = README) -> list[Finding]:
    folder = tmp_path / "wiki"
    folder.mkdir(exist_ok=True)
    (folder / "stack.yml").write_text(yaml.safe_dump(content))
    if readme:
        (folder / "README.md").write_text(readme)
    return lint(load(folder))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good recipe with one thing changed; None removes it."""
    content = copy.deepcopy(GOOD)
    node: Any = content
    *parents, leaf = path.split("/")
    for step in parents:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[int(step)]
    if value is None:
        del node[leaf]
    else:
        node[leaf] = value
    return content


def test_a_good_recipe_has_no_findings(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []


WEB, DB = "services/web", "services/db"
SOCKET = ["data:/data", "/var/run/docker.sock:/var/run/docker.sock:ro"]
FAULTS: list[tuple[str, Any, str, str]] = [
    (f"{WEB}/image", "mediawiki", "image-tag", "services.web.image"),
    (f"{WEB}/image", "mediawiki:latest", "image-tag", "services.web.image"),
    (f"{WEB}/image", "registry.example.org:5000/mediawiki", "image-tag", "services.web.image"),
    (f"{WEB}/image", "mediawiki:stable", "image-tag", "services.web.image"),
    (f"{WEB}/image", "mediawiki:1", "image-tag", "services.web.image"),
    (f"{WEB}/image", None, "image-tag", "services.web.image"),
    (f"{WEB}/healthcheck", None, "healthcheck", "services.web.healthcheck"),
    (f"{WEB}/healthcheck", {"disable": True}, "healthcheck", "services.web.healthcheck"),
    (f"{DB}/healthcheck/test", "echo ok", "healthcheck", "services.db.healthcheck"),
    (f"{WEB}/deploy", None, "memory-limit", "services.web.deploy.resources.limits"),
    (
        f"{WEB}/deploy/resources/reservations",
        None,
        "memory-reservation",
        "services.web.deploy.resources.reservations",
    ),
    (
        f"{WEB}/environment/DB_PASSWORD",
        "hunter2",
        "literal-password",
        "services.web.environment.DB_PASSWORD",
    ),
    (
        f"{WEB}/environment/DB_URL",
        "mysql://wiki:hunter2@db/wiki",
        "literal-password",
        "services.web.environment.DB_URL",
    ),
    (f"{DB}/command", "mariadbd --password=x1y2z3", "literal-password", "services.db.command"),
    ("x-ronron/databases", None, "database-dump", "x-ronron.volumes.db"),
    (
        "x-ronron/databases/more",
        {"volume": "data", "engine": "mysql", "dump": ["x"], "restore": ["x"], "service": "web"},
        "database-dump",
        "x-ronron.databases.more.volume",
    ),
    ("x-ronron/databases/db/service", "dbb", "database-dump", "x-ronron.databases.db.service"),
    ("x-ronron/volumes/db/class", "files", "database-class", "services.db.volumes[0]"),
    ("x-ronron/checks/pages", None, "data-check", "x-ronron.databases.db"),
    ("x-ronron/checks/images", None, "data-check", "x-ronron.volumes.data"),
    (
        "x-ronron/checks/more",
        {"about": "x", "volume": "db", "file": "*"},
        "data-check",
        "x-ronron.checks.more.volume",
    ),
    (
        "x-ronron/checks/more",
        {"about": "x", "service": "cache", "rows": ["x"]},
        "data-check",
        "x-ronron.checks.more.service",
    ),
    (f"{WEB}/ports", ["8080:80"], "published-port", "services.web.ports"),
    (f"{WEB}/volumes", SOCKET, "docker-socket", "services.web.volumes[1]"),
    (f"{WEB}/volumes", ["data:/d", "/srv/x:/x"], "host-path", "services.web.volumes[1]"),
    (f"{WEB}/privileged", True, "privileged", "services.web.privileged"),
    ("x-ronron/license", "BUSL-1.1", "licence", "x-ronron.license"),
    ("x-ronron/license", "NOASSERTION", "licence", "x-ronron.license"),
    ("x-ronron/web/service", "www", "web", "x-ronron.web.service"),
    (f"{WEB}/secrets", ["db_password", "other"], "secrets", "services.web.secrets[1]"),
    ("x-ronron/secrets", ["db_password", "unused"], "secrets", "x-ronron.secrets.unused"),
    (
        "x-ronron/secrets",
        {"db_password": {"rotate": {"service": "dbb", "accept": ["x"]}}},
        "secrets",
        "x-ronron.secrets.db_password.rotate.service",
    ),
    ("secrets/unused", {"external": True}, "secrets", "secrets.unused"),
    ("volumes/unused", {}, "volumes", "volumes.unused"),
    ("x-ronron/volumes/unused", {"class": "files"}, "volumes", "x-ronron.volumes.unused"),
    (f"{WEB}/volumes", ["data:/d", "undeclared:/u"], "volumes", "services.web.volumes[1]"),
    (
        f"{WEB}/deploy/update_config",
        {"order": "start-first"},
        "two-writers",
        "services.web.deploy.update_config.order",
    ),
    (f"{DB}/deploy/replicas", 2, "two-writers", "services.db.deploy.replicas"),
    (f"{WEB}/environment/X", "${unknown}", "parameters", "services.web.environment.X"),
    ("x-ronron/parameters/idle", {"about": "x"}, "parameters", "x-ronron.parameters.idle"),
    ("configs/page", {"file": "./page.html"}, "files", "configs.page.file"),
    (f"{WEB}/build", ".", "files", "services.web.build"),
    (
        "configs/a-name-that-is-too-long",
        {"content": "x"},
        "files",
        "configs.a-name-that-is-too-long",
    ),
    (f"{WEB}/tmpfs", ["/run:size=1m"], "volumes", "services.web.tmpfs"),  # noqa: S108
    (f"{WEB}/environment/PRICE", "5$ each", "interpolation", "services.web.environment.PRICE"),
]


@pytest.mark.parametrize(("path", "value", "rule", "where"), FAULTS)
def test_each_fault_is_found_where_it_is(
    tmp_path: Path, path: str, value: Any, rule: str, where: str
) -> None:
    found = check(tmp_path, changed(path, value))
    assert [(finding.rule, finding.path) for finding in found if finding.rule == rule] == [
        (rule, where)
    ]
    assert all(finding.message and finding.remedy for finding in found)


def test_a_database_in_which_nothing_is_lost_needs_no_dump(tmp_path: Path) -> None:
    content = changed("x-ronron/databases", None)
    del content["x-ronron"]["checks"]["pages"]
    content["x-ronron"]["volumes"]["db"]["backup"] = False
    assert check(tmp_path, content) == []


def test_a_secret_has_a_name_that_the_vault_can_hold(tmp_path: Path) -> None:
    for name in ("DB-Password", "a_name_of_more_than_21_signs"):
        content = json.loads(json.dumps(GOOD).replace("db_password", name))
        assert f"x-ronron.secrets.{name}" in [item.path for item in check(tmp_path, content)]


def test_a_reason_is_an_exception(tmp_path: Path) -> None:
    content = changed(f"{WEB}/ports", ["8080:80"])
    content["services"]["web"]["volumes"] = SOCKET
    content["x-ronron"] |= {
        "license": "BUSL-1.1",
        "license_exception": "free from 2028",
        "published_ports": "Speaks no HTTP.",
        "docker_socket": "Watches the containers.",
    }
    assert check(tmp_path, content) == []


def test_a_recipe_without_a_readme(tmp_path: Path) -> None:
    assert [finding.rule for finding in check(tmp_path, GOOD, readme="")] == ["readme"]


def test_only_errors_are_errors(tmp_path: Path) -> None:
    severities = {
        finding.rule: finding.severity
        for path, value, _, _ in FAULTS
        for finding in check(tmp_path, changed(path, value))
    }
    assert severities["literal-password"] == "error"
    assert severities["memory-reservation"] == "warning"


@pytest.mark.parametrize(
    "test",
    [
        "true",
        ["CMD", "true"],
        ["CMD", "/bin/true"],
        ["CMD-SHELL", "exit 0"],
        ["CMD-SHELL", "echo ok"],
        "echo ok || exit 1",
        ["CMD", "sh", "-c", "echo healthy; exit 0"],
        ["CMD-SHELL", "curl -f http://localhost/ || true"],
        ["CMD-SHELL", "curl -f http://localhost/ || exit 0"],
        ["CMD-SHELL", "curl http://localhost/; exit 0"],
        ["CMD", "pgrep", "nginx"],
        "test -f /etc/passwd",
        ["NONE"],
        [],
        None,
    ],
)
def test_checks_that_ask_nothing(test: Any) -> None:
    assert fault({"test": test})


@pytest.mark.parametrize(
    "test",
    [
        "curl -f http://localhost/ || exit 1",
        ["CMD", "wget", "-qO", "/dev/null", "http://127.0.0.1/"],
        ["CMD-SHELL", "pg_isready -U app || exit 1"],
        ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80 && read -r line <&3"],
        "redis-cli ping | grep PONG",
        ["CMD", "truecheck"],
    ],
)
def test_checks_that_ask_something(test: Any) -> None:
    assert fault({"test": test}) is None


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("MIT", True),
        ("AGPL-3.0-or-later", True),
        ("MIT OR BUSL-1.1", True),
        ("MIT AND BUSL-1.1", False),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", True),
        ("(Apache-2.0 AND MIT) OR SSPL-1.0", True),
        ("SSPL-1.0", False),
        ("Elastic-2.0", False),
        ("LicenseRef-Commercial", False),
        ("", False),
    ],
)
def test_free_licences(expression: str, free: bool) -> None:
    assert is_free(expression) is free


def test_the_whole_catalog_keeps_the_contract_within_two_seconds() -> None:
    began = time.process_time()
    found = {name: lint(find(name)) for name in names()}
    assert time.process_time() - began < 2
    assert len(found) >= 5
    assert {name: findings for name, findings in found.items() if findings} == {}


def test_the_skeleton_passes(tmp_path: Path) -> None:
    authoring.write(tmp_path / "my-wiki", authoring.skeleton("my-wiki"))
    assert lint(load(tmp_path / "my-wiki")) == []


# The commands


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lint_of_a_bad_recipe_of_the_site(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "new", "wiki"]) == 0
    assert run(["recipe", "lint", "wiki"]) == 0
    stack = site / "recipes/wiki/stack.yml"
    stack.write_text(stack.read_text().replace(":1.0.0", ":latest"))
    capsys.readouterr()
    assert run(["recipe", "lint", "wiki"]) == 1
    printed = capsys.readouterr()
    assert "recipes/wiki: services.web.image: the tag latest moves" in printed.out
    assert "1 recipes, 1 errors, 0 warnings" in printed.err
    assert run(["recipe", "lint", "recipes/wiki", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["recipe"], row["rule"], row["severity"]) == ("wiki", "image-tag", "error")


def test_lint_of_everything(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "lint"]) == 0
    assert f"{len(names())} recipes, 0 errors" in capsys.readouterr().err


def test_a_recipe_that_cannot_be_read_is_a_finding(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "recipes/broken").mkdir(parents=True)
    (site / "recipes/broken/stack.yml").write_text("services: {}\nx-ronron: {titel: x}\n")
    assert run(["recipe", "lint", "broken"]) == 1
    assert "x-ronron.titel: unknown key" in capsys.readouterr().out


def test_list_and_show(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["hello"]["builtin"] is True
    assert run(["recipe", "list"]) == 0
    assert "hello" in capsys.readouterr().out
    assert run(["recipe", "show", "ghost"]) == 0
    shown = capsys.readouterr().out
    for word in ("licence: MIT", "verified:", "db_password", "database", "MEMORY LIMIT"):
        assert word in shown
    assert run(["recipe", "show", "ghost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["services"]["db"]["memory"]


def test_an_unknown_recipe_is_answered_with_the_closest(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipe", "show", "gost"]) == 2
    assert "did you mean ghost?" in capsys.readouterr().err


def test_diff_of_an_override(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.copytree(builtin_folder() / "hello", site / "recipes/hello")
    assert run(["recipe", "diff", "hello"]) == 0
    assert capsys.readouterr().out == ""
    stack = site / "recipes/hello/stack.yml"
    stack.write_text(stack.read_text().replace("title: Hello", "title: Salut"))
    assert run(["recipe", "diff", "hello"]) == 0
    printed = capsys.readouterr().out
    assert "-  title: Hello" in printed
    assert "+  title: Salut" in printed
    assert run(["recipe", "diff", "ghost"]) == 2


def test_new_does_not_overwrite(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "new", "wiki"]) == 0
    assert run(["recipe", "new", "wiki"]) == 2
    assert run(["recipe", "new", "../wiki"]) == 2
