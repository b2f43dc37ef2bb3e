"""Recipes: read with all their faults at once, found by name, parameters checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ronron.backup.dump import fault
from ronron.catalog import recipe as recipes
from ronron.catalog.recipe import (
    Catalog,
    Engine,
    Parameter,
    Recipe,
    Volume,
    find,
    image_folder,
    load,
)
from ronron.errors import OperatorError, SiteError

STACK: dict[str, Any] = {
    "x-ronron": {"title": "Page", "license": "MIT"},
    "services": {"web": {"image": "page:1.0"}},
}


def write(folder: Path, content: object = STACK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "stack.yml").write_text(text)
    return folder


def faults(folder: Path) -> list[str]:
    with pytest.raises(SiteError) as caught:
        load(folder)
    return [str(problem) for problem in caught.value.problems]


def extended(**extension: object) -> dict[str, Any]:
    return {**STACK, "x-ronron": {**STACK["x-ronron"], **extension}}


def test_a_recipe_is_its_folder(tmp_path: Path) -> None:
    found = load(write(tmp_path / "page"))
    assert (found.name, found.folder, found.builtin) == ("page", tmp_path / "page", False)
    assert found.extension.title == "Page"
    assert found.services == STACK["services"]
    assert "x-ronron" not in found.stack


def test_every_built_in_recipe_loads() -> None:
    names = recipes.names()
    assert {"ghost", "hello", "proxy", "registry", "socket-proxy"} <= set(names)
    for name in names:
        assert find(name).builtin


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("just text", "this is not a stack file"),
        ("services: [web]", "services: a Compose file with services is needed"),
        ("services: {web: {}}", "x-ronron: this block is missing"),
        ("services: {web: {image: a}\nx: 1", "line 2: "),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (fault,) = faults(write(tmp_path / "page", content))
    assert fault.startswith("recipes/page/stack.yml: " + said)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "page")
    (tmp_path / "page" / "stack.yml").write_bytes(b"services: \xff\xfe")
    assert faults(tmp_path / "page") == [
        "recipes/page/stack.yml: is not text (save it as UTF-8)",
    ]


def test_all_faults_of_the_block_are_told_together(tmp_path: Path) -> None:
    block = {"web": {"service": "web", "port": 0}, "colour": "red", "volumes": {"a": {"uid": "x"}}}
    found = faults(write(tmp_path / "page", extended(**block)))
    places = {fault.split(": ")[1] for fault in found}
    assert places == {"x-ronron.web.port", "x-ronron.colour", "x-ronron.volumes.a.uid"}
    assert "recipes/page/stack.yml: x-ronron.colour: unknown key (see docs/recipes.md)" in found


def test_secrets_may_be_a_list_of_names(tmp_path: Path) -> None:
    found = load(write(tmp_path / "page", extended(secrets=["db_password"])))
    assert found.extension.secrets["db_password"].length == 32


def test_a_database_without_a_way_back_is_refused(tmp_path: Path) -> None:
    database = {"volume": "data", "engine": "mariadb", "dump": ["mariadb-dump"], "restore": []}
    (fault,) = faults(write(tmp_path / "page", extended(databases={"db": database})))
    assert "x-ronron.databases.db.restore" in fault


def test_a_database_whose_dumps_could_not_be_looked_at_is_refused(tmp_path: Path) -> None:
    database = {"volume": "data", "engine": "postgresql", "dump": ["a"], "restore": ["b"]}
    (said,) = faults(write(tmp_path / "page", extended(databases={"db": database})))
    assert "x-ronron.databases.db.engine" in said
    assert "'postgres'" in said


def test_the_end_of_every_engines_dumps_is_known() -> None:
    for engine in get_args(Engine):
        assert engine in fault(engine, 5, b"-----", b"-----")


@pytest.mark.parametrize("mode", ["0750", "755"])
def test_a_mode_is_octal(mode: str) -> None:
    assert Volume.model_validate({"mode": mode}).mode == mode


@pytest.mark.parametrize("text", ["0750", "750", "420"])
def test_a_mode_that_yaml_reads_as_a_number_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "page", extended(volumes={"data": {"mode": "MODE"}}))
    file = folder / "stack.yml"
    file.write_text(file.read_text().replace("MODE", text))
    (fault,) = faults(folder)
    assert "x-ronron.volumes.data.mode" in fault
    assert 'must be text in quotes, such as "0750"' in fault


@pytest.mark.parametrize(
    ("rule", "value", "right"),
    [
        (Parameter(type="integer"), 7, True),
        (Parameter(type="integer"), "-7", True),
        (Parameter(type="integer"), "7.0", False),
        (Parameter(type="integer"), "soon", False),
        (Parameter(type="integer"), True, False),
        (Parameter(type="integer"), "7\n", False),
        (Parameter(type="boolean"), True, True),
        (Parameter(type="boolean"), "False", True),
        (Parameter(type="boolean"), "yes", False),
        (Parameter(type="choice", choices=("a", "b")), "b", True),
        (Parameter(type="choice", choices=("a", "b")), "c", False),
        (Parameter(pattern="https://.+"), "https://x", True),
        (Parameter(pattern="https://.+"), "see https://x", False),
        (Parameter(), ["a"], False),
        (Parameter(), "anything", True),
    ],
)
def test_parameters_say_what_fits(rule: Parameter, value: object, right: bool) -> None:
    assert (rule.check(value) is None) == right


@given(st.integers())
def test_every_whole_number_is_one(number: int) -> None:
    assert Parameter(type="integer").check(number) is None
    assert Parameter(type="integer").check(str(number)) is None


def test_the_sites_own_recipe_comes_before_the_built_in_one(tmp_path: Path) -> None:
    own = tmp_path / "recipes"
    write(own / "hello", extended(title="My own"))
    assert find("hello", own).extension.title == "My own"
    assert find("hello").extension.title == "Hello"
    assert "hello" in recipes.names(own)
    assert recipes.names(own).count("hello") == 1


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(OperatorError, match=r"no recipe hallo \(did you mean hello\?\)"):
        find("hallo")
    with pytest.raises(OperatorError, match="ronron recipe list"):
        find("../recipes/hello")


def test_a_catalog_reads_each_recipe_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "page")
    catalog = Catalog(tmp_path)
    first = catalog.find("page")
    write(folder, extended(title="Changed"))
    assert catalog.find("page") is first
    assert Catalog(tmp_path).find("page").extension.title == "Changed"


def digests(folder: Path) -> tuple[str, str]:
    """Of the recipe, and of the image that its folder builds."""
    found = load(folder)
    return found.digest, found.folder_digest(folder)


def test_the_digest_follows_every_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "page")
    (folder / "Dockerfile").write_text("FROM scratch")
    (folder / "run.sh").write_text("#!/bin/sh")
    seen = {digests(folder)[0]}
    (folder / "run.sh").chmod(0o755)
    seen.add(digests(folder)[0])
    (folder / "run.sh").write_text("#!/bin/bash")
    seen.add(digests(folder)[0])
    (folder / "run.sh").rename(folder / "start.sh")
    seen.add(digests(folder)[0])
    assert len(seen) == 4
    before = digests(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "run.pyc").write_bytes(b"cache")
    os.utime(folder / "start.sh", (0, 0))
    assert digests(folder) == before, "caches and times do not count"


def test_an_image_without_a_folder_has_no_digest(tmp_path: Path) -> None:
    assert load(write(tmp_path / "page")).folder_digest(None) == ""


@pytest.mark.parametrize(
    ("reference", "folder"),
    [
        ("mariadb:11.8.6", "images/mariadb/11.8"),
        ("mariadb:11.8", "images/mariadb/11.8"),
        ("mariadb:11.8-noble", "images/mariadb/11.8"),
        ("mariadb", "images/mariadb/11.8"),
        ("mariadb:latest", "images/mariadb/11.8"),
        ("mariadb:11.80", None),
        ("mariadb:10.6", None),
        ("traefik:v3.7.15", "images/traefik/v3.7"),
        ("ghost:6.49.0", "recipes/ghost"),
        ("ghost:5.0.0", None),
        ("ghcr.io/someone/mariadb:11.8.6", None),
        ("nobody-has-this:1", None),
    ],
)
def test_built_in_images_are_found_by_their_version(reference: str, folder: str | None) -> None:
    found = image_folder(reference)
    catalog = recipes.builtin_folder().parent
    assert (found.relative_to(catalog).as_posix() if found else None) == folder


def test_the_newest_version_is_the_highest_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "builtin_folder", lambda: tmp_path / "recipes")
    for version in ("3.9", "3.10", "3.2"):
        (tmp_path / "images" / "thing-of-tests" / version).mkdir(parents=True)
    assert image_folder("thing-of-tests") == tmp_path / "images" / "thing-of-tests" / "3.10"


def test_a_recipe_is_a_value() -> None:
    one, other = find("hello"), find("hello")
    assert isinstance(one, Recipe)
    assert one == other
    with pytest.raises(AttributeError):
        one.name = "x"  # type: ignore[misc]
