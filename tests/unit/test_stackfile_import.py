"""A plain stack file made into a recipe of the site, or deployed as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ronron.catalog.plain import env_file
from ronron.catalog.recipe import load
from ronron.catalog.render import render
from ronron.catalog.stackfile import gather, read_stack, translate, with_options
from ronron.cli.main import run
from ronron.errors import OperatorError, SiteError
from ronron.site.models import App, Site
from stack_corpus import FOLDER

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
    )
    monkeypatch.chdir(folder)
    return folder


def test_an_imported_file_is_a_recipe_with_its_variables(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipe", "import", str(FOLDER / "ghost-2018.yml"), "blog-2018"]) == 0
    assert "labels for Traefik 1 became ronron's own" in capsys.readouterr().err
    recipe = load(site / "recipes/blog-2018")
    assert recipe.extension.web is not None
    assert (recipe.extension.web.service, recipe.extension.web.port) == ("ghost", 2368)
    assert recipe.extension.volumes["db"].kind == "database"
    app = App(
        name="blog",
        recipe="blog-2018",
        domain="blog.example.org",
        parameters={"GHOST_VERSION": "6.1"},
    )
    stack = render(app, recipe, SITE, {})
    ghost = stack.compose["services"]["web"]
    assert ghost["environment"]["url"] == "https://blog.example.org"
    assert ghost["environment"]["database__connection__password"] == "kitten"
    assert stack.images[0].upstream == "ghost:6.1"


def test_a_dry_run_writes_nothing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = FOLDER / "traefik2-swarm.yml"
    assert run(["recipe", "import", str(source), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "x-ronron:" in printed.out
    assert "router blog-http is left out" in printed.err
    assert not (site / "recipes").exists()


def test_what_cannot_be_imported_exits_2_and_writes_nothing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipe", "import", str(FOLDER / "isolation-refused.yml"), "x"]) == 2
    assert "line 7: services.app.network_mode" in capsys.readouterr().err
    assert not (site / "recipes").exists()


def test_files_beside_the_stack_come_along(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text("events {}\n")
    (folder / "compose.yml").write_text(
        "services:\n  web:\n    image: nginx:1.27\n    ports: ['80:80']\n"
        "    volumes: ['./nginx.conf:/etc/nginx/nginx.conf:ro']\n"
    )
    assert run(["recipe", "import", str(folder / "compose.yml")]) == 0
    recipe = load(site / "recipes/nginx")
    stack = render(App(name="web", recipe="nginx"), recipe, SITE, {})
    assert [config.content for config in stack.configs.values()] == [b"events {}\n"]


def test_the_digest_is_of_the_file_and_what_it_reads(tmp_path: Path) -> None:
    text = "services: {a: {image: 'a:1', expose: [80], volumes: ['./c:/c:ro']}}\n"
    (tmp_path / "c").write_text("1")

    def digest(content: str) -> str:
        recipe = read_stack(
            content, name="a", file="a.yml", folder=tmp_path, variables={}, domain="a.example.org"
        )
        return recipe.digest

    first = digest(text)
    (tmp_path / "other.yml").write_text("another app's")
    assert digest(text) == first
    assert digest(text.replace("a:1", "a:2")) != first
    (tmp_path / "c").write_text("2")
    assert digest(text) != first


def test_contents_of_secrets_stay_out_of_the_recipe_and_of_the_site() -> None:
    folder = FOLDER / "secrets-and-configs"
    text = (FOLDER / "secrets-and-configs.yml").read_text()
    found = translate(
        text, name="chat", file="chat.yml", folder=folder, variables={}, domain="chat.example.org"
    )
    assert found.secrets == {"license": "a license key", "salt": "pepper"}
    assert "a license key" not in repr(found)
    assert "license.txt" not in found.files


def test_gather_takes_what_the_file_reads(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("services: {a: {image: 'a:${T}', expose: [80], env_file: e}}")
    (tmp_path / "e").write_text("A=1\n")
    (tmp_path / ".env").write_text("T=1\n")
    (tmp_path / "unrelated").write_text("x")
    found = translate(
        (tmp_path / "a.yml").read_text(),
        name="a",
        file="a.yml",
        folder=tmp_path,
        variables={},
        domain="a.example.org",
    )
    assert sorted(gather(tmp_path / "a.yml", found)) == [".env", "a.yml", "e"]


def test_the_operator_s_choices_are_kept_in_the_file() -> None:
    text = "services:\n  a: {image: 'a:1', volumes: ['/srv/a:/a']}\n  b: {image: 'b:1'}\n"
    kept = with_options(text, web="b:80", allow_host_paths=True)
    recipe = read_stack(
        kept, name="a", file="a.yml", folder=Path(), variables={}, domain="a.example.org"
    )
    assert recipe.extension.web is not None
    assert (recipe.extension.web.service, recipe.extension.web.port) == ("b", 80)
    assert with_options(text) == text
    with pytest.raises(OperatorError, match="x-ronron"):
        with_options(kept, secrets=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = 1 ", {"A": "1"}),
        ("A='$B # c'", {"A": "$B # c"}),
        ('A="a\\nb\\"c"', {"A": 'a\nb"c'}),
        ("A=x # comment", {"A": "x"}),
        ("A=x#y", {"A": "x#y"}),
        ("A=\nB=$A-${A:-d}", {"A": "", "B": "-d"}),
        ("A='two\nlines'", {"A": "two\nlines"}),
        ("# only a comment\n\n", {}),
        ("A=5$", {"A": "5$"}),
        ("A=${GIVEN}", {"A": "here"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_files_of_variables(text: str, expected: dict[str, str]) -> None:
    assert env_file.parse(text, ".env", {"GIVEN": "here"}) == expected


@pytest.mark.parametrize("text", ["no equals sign here", "A='open", "=x"])
def test_a_faulty_file_of_variables_names_its_line(text: str) -> None:
    with pytest.raises(SiteError, match=r"\.env: line 1: "):
        env_file.parse(text, ".env", {})


def test_a_bomb_of_anchors_is_refused() -> None:
    lines = ["x-a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join([*lines, "services: {a: {image: 'a:1'}}"])
    with pytest.raises(SiteError, match="more than 100000 nodes"):
        read_stack(
            text, name="a", file="a.yml", folder=Path(), variables={}, domain="a.example.org"
        )
