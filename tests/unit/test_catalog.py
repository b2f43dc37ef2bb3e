"""The built-in recipes: clean, rendered, described, and alike where they should be."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from ronron.catalog.lint import lint
from ronron.catalog.recipe import Recipe, builtin_folder, find, names
from ronron.catalog.render import render
from ronron.catalog.stack import PLATFORM, VOLUMES, Stack
from ronron.site.models import App, Site

ROOT = Path(__file__).parents[2]
SITE = Site(name="cats", domain="example.org", contact="cat@example.org")
RECIPES = [find(name) for name in names()]
APPS = [recipe for recipe in RECIPES if recipe.name not in PLATFORM]
FILES = sorted(path for path in builtin_folder().rglob("*") if path.is_file())


def rendered(recipe: Recipe, **parameters: str | int | bool) -> Stack:
    """The recipe as an app of the site, with the parameters that it requires."""
    wanted = {
        name: (rule.choices or ("1",))[0]
        for name, rule in recipe.extension.parameters.items()
        if rule.required
    }
    app = App(name="app", recipe=recipe.name, parameters={**wanted, **parameters})
    secrets = {name: f"app_{name}_0123456789ab" for name in recipe.extension.secrets}
    return render(app, recipe, SITE, secrets)


def readme(recipe: Recipe) -> str:
    return (recipe.folder / "README.md").read_text("utf-8")


PASSWORD_OF = {
    "mariadb": r"MYSQL_PWD=`cat /run/secrets/db_password`",
    "postgres": r"PGPASSWORD=`cat /run/secrets/db_password`",
    "mongodb": r"--config=<\(printf 'password: %s\\n' \"`cat /run/secrets/db_password`\"\)",
}
"""How each engine's programs get the password without an argument that others could see."""

each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
each_app = pytest.mark.parametrize("recipe", APPS, ids=lambda recipe: recipe.name)


@each_recipe
def test_it_keeps_the_contract(recipe: Recipe) -> None:
    assert lint(recipe) == []


@each_recipe
def test_it_renders_with_what_it_requires_alone(recipe: Recipe) -> None:
    stack = rendered(recipe)
    assert "${" not in re.sub(r"\$\$\{", "", stack.text)
    assert set(stack.secrets) == set(recipe.extension.secrets) - {"mail_password"}
    assert "mail_password" not in stack.text
    for volume in stack.volumes:
        assert stack.compose["volumes"][volume.name]["driver_opts"]["device"] == (
            f"{VOLUMES}/app/{volume.name}"
        )
    for image in stack.images:
        assert image.reference.startswith("registry.ronron.internal:5000/")


@each_app
def test_who_owns_a_volume_is_who_runs_the_service(recipe: Recipe) -> None:
    for volume in rendered(recipe).volumes:
        for service in volume.services:
            user, _, group = str(recipe.services[service].get("user", "")).partition(":")
            assert (str(volume.uid), str(volume.gid)) == (user, group), f"{service}: {volume.name}"


@each_app
def test_no_service_has_a_capability_or_a_home_on_another_network(recipe: Recipe) -> None:
    web = recipe.extension.web
    for service, body in rendered(recipe).compose["services"].items():
        assert body["cap_drop"] == ["ALL"], service
        assert "cap_add" not in body, service
        joined = "ronron_proxy" in (body.get("networks") or [])
        assert joined is (web is not None and service == web.service), service


@each_app
def test_a_service_with_a_volume_stops_before_it_starts_anew(recipe: Recipe) -> None:
    stack = rendered(recipe)
    for service in {service for volume in stack.volumes for service in volume.services}:
        deploy = stack.compose["services"][service]["deploy"]
        assert deploy["update_config"]["order"] == "stop-first"
        assert deploy["rollback_config"]["order"] == "stop-first"
        assert deploy.get("replicas", 1) == 1


@each_app
def test_a_dump_has_no_password_among_its_arguments(recipe: Recipe) -> None:
    for database in recipe.extension.databases.values():
        for command in (database.dump, database.restore):
            words = " ".join(command)
            assert re.search(PASSWORD_OF.get(database.engine, r"(?!)"), words)
            assert not re.search(r"--password|\s-p\S", words)


@each_app
def test_a_secret_that_is_a_databases_password_can_be_changed_or_says_why_not(
    recipe: Recipe,
) -> None:
    for name, rule in recipe.extension.secrets.items():
        if name.startswith("db_"):
            assert rule.rotate or rule.permanent, name
        if rule.rotate:
            configs = recipe.services[rule.rotate.service]["configs"]
            assert rule.rotate.accept[0] in [config["target"] for config in configs]
            assert name in recipe.services[rule.rotate.service]["secrets"]


@each_app
def test_the_readme_names_everything(recipe: Recipe) -> None:
    text, extension = readme(recipe), recipe.extension
    assert text.startswith(f"# {extension.title}\n")
    named = r" \S+ --domain " if extension.web else ""
    assert re.search(rf"^ronron deploy {recipe.name}{named}", text, re.M)
    for parameter in extension.parameters:
        assert f"| `{parameter}` |" in text, parameter
    for volume in extension.volumes:
        assert f"| `{volume}` |" in text, volume
    # The first recipes say it in other words.
    if extension.verified == "rendered":
        assert "**Upgrades.**" in text
        assert "not measured here" in text
        for service in recipe.services:
            assert f"| `{service}` |" in text, service


@each_app
def test_mail_goes_nowhere_unless_a_relay_is_named(recipe: Recipe) -> None:
    known = set(recipe.extension.parameters) & {"mail_host", "mail_port", "mail_from"}
    if not known:
        return
    assert known == {"mail_host", "mail_port", "mail_from"}
    assert recipe.extension.parameters["mail_host"].default == ""
    with_relay = rendered(recipe, mail_host="relay.example.org", mail_port=2525).text
    assert "relay.example.org" in with_relay
    assert "2525" in with_relay
    assert "relay.example.org" not in rendered(recipe).text


@each_app
def test_a_relay_that_wants_a_password_gets_it_from_a_secret(recipe: Recipe) -> None:
    parameters = recipe.extension.parameters
    if "mail_user" not in parameters:
        return
    assert parameters["mail_security"].choices == ("starttls", "tls", "none")
    assert parameters["mail_user"].default == ""
    assert "mail_password" in recipe.extension.secrets
    with_user = rendered(recipe, mail_host="relay", mail_user="who", mail_security="tls")
    readers = [
        service
        for service, body in with_user.compose["services"].items()
        if (body.get("environment") or {}).get("MAIL_USER") == "who"
    ]
    assert readers
    for service in readers:
        assert with_user.compose["services"][service]["environment"]["MAIL_SECURITY"] == "tls"
        assert "mail_password" in with_user.compose["services"][service]["secrets"]
    assert "mail_password" in with_user.secrets


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("apache.conf", "*"),
        ("change-password.sh", "mariadb"),
        ("change-password.sh", "postgres"),
    ],
)
def test_copies_of_a_file_are_alike(name: str, pattern: str) -> None:
    copies = {
        path.read_text("utf-8")
        for recipe in APPS
        if (path := recipe.folder / name).is_file()
        and (pattern == "*" or pattern in {it.engine for it in recipe.extension.databases.values()})
    }
    assert len(copies) == 1


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix == ".sh"], ids=lambda path: path.parent.name
)
def test_a_script_can_be_read_by_its_shell(path: Path) -> None:
    shell = "bash" if path.read_text("utf-8").startswith("#!/bin/bash") else "sh"
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_of_the_catalog_is_in_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["ronron"]
    kept = [pattern.removeprefix("**/") for pattern in patterns]
    for path in FILES:
        if path.suffix not in (".py", ".pyc"):
            assert any(fnmatch.fnmatch(path.name, pattern) for pattern in kept), path


def script() -> ModuleType:
    path = ROOT / "scripts" / "document_catalog.py"
    spec = importlib.util.spec_from_file_location("document_catalog", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_catalog_is_what_the_recipes_say() -> None:
    written = (ROOT / "docs" / "catalog.md").read_text("utf-8")
    assert written == script().text(), "run: .venv/bin/python scripts/document_catalog.py"


# Synapse's configuration is written by a program of the recipe's.

SYNAPSE = builtin_folder() / "synapse" / "with_settings.py"
VARIABLES = {
    "DOMAIN": "matrix.example.org",
    "SERVER_NAME": "example.org",
    "CONTACT": "cat@example.org",
    "UPLOAD_SIZE": "50M",
    "FEDERATION": "true",
    "MAIL_HOST": "",
    "MAIL_PORT": "25",
    "MAIL_FROM": "",
    "MAIL_SECURITY": "starttls",
    "MAIL_USER": "",
}
PRINT = """
import json, pathlib, sys
source = pathlib.Path(sys.argv[1]).read_text().replace("/run/secrets", sys.argv[2])
space = {"__name__": "settings"}
exec(compile(source.replace("\\nmain()\\n", ""), "settings", "exec"), space)
import os
print(json.dumps(space["settings"](os.environ)))
"""


def synapse(secrets: Path, **variables: str) -> str:
    for name in find("synapse").extension.secrets:
        (secrets / name).write_text(f"{name} 'quoted\": {{}}\n")
    done = subprocess.run(
        [sys.executable, "-c", PRINT, SYNAPSE, secrets],
        env={**VARIABLES, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_synapses_configuration_takes_any_secret(tmp_path: Path) -> None:
    import yaml

    settings = yaml.safe_load(synapse(tmp_path))
    assert settings["database"]["args"]["password"] == "db_password 'quoted\": {}"
    assert settings["registration_shared_secret"] == "registration_secret 'quoted\": {}"
    assert settings["enable_registration"] is False
    assert "email" not in settings
    assert settings["listeners"][0]["resources"][0]["names"] == ["client", "federation"]


def test_synapse_without_federation_and_with_mail(tmp_path: Path) -> None:
    import yaml

    settings = yaml.safe_load(synapse(tmp_path, FEDERATION="false", MAIL_HOST="relay"))
    assert settings["federation_domain_whitelist"] == []
    assert settings["listeners"][0]["resources"][0]["names"] == ["client"]
    assert settings["email"]["notif_from"] == "Matrix <matrix@matrix.example.org>"
