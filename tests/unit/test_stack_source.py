"""A plain stack file brought into the site by deploy, and taken back when it was a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from ronron.catalog.recipe import Catalog
from ronron.errors import OperatorError, SiteError
from ronron.plan.deploying import Request, prepared
from ronron.plan.make import recipe_of
from ronron.site.create import init_site
from ronron.site.load import LoadedSite, load_site
from ronron.site.vault import Vault, identity_path

STACK = """\
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: ["8080:80"]
    secrets: [token]
    volumes: ["./conf/site.conf:/etc/nginx/conf.d/site.conf:ro"]
secrets:
  token: {file: ./token.txt}
"""
ALONE = "services: {web: {image: 'nginx:1.27', ports: ['8080:80'], volumes: ['/srv/x:/x']}}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    folder = tmp_path / "site"
    init_site(
        folder,
        name="cats",
        domain="example.org",
        contact="cat@example.org",
        key=identity_path("cats"),
    )
    return load_site(folder)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "found"
    (folder / "conf").mkdir(parents=True)
    (folder / "stack.yml").write_text(STACK)
    (folder / "conf/site.conf").write_text("server {}\n")
    (folder / "token.txt").write_text("do not tell\n")
    (folder / ".env").write_text("TAG=1.28\n")
    (folder / "alone.yml").write_text(ALONE)
    return folder


def test_the_file_comes_with_what_it_reads(site: LoadedSite, source: Path) -> None:
    with prepared(site, Request("blog", source / "stack.yml")) as draft:
        draft.begun = True
        app = draft.loaded.apps["blog"]
        assert app.stack == "stacks/blog/stack.yml"
        recipe = recipe_of(app, draft.loaded, Catalog(draft.loaded.recipes))
    assert recipe.services["web"]["image"] == "nginx:1.28"
    held = {p.relative_to(site.folder).as_posix() for p in site.folder.glob("stacks/**/*")}
    assert "stacks/blog/conf/site.conf" in held
    assert "stacks/blog/token.txt" not in held
    vault = Vault(site.folder, identity_path("cats"))
    assert vault.read("blog").values["token"].reveal() == "do not tell"
    for path in site.folder.rglob("*"):
        assert not path.is_file() or b"do not tell" not in path.read_bytes()


def test_a_second_deployment_is_of_the_site_s_own_file(site: LoadedSite, source: Path) -> None:
    with prepared(site, Request("blog", source / "stack.yml")) as draft:
        draft.begun = True
    own = site.folder / "stacks/blog/stack.yml"
    with prepared(load_site(site.folder), Request("blog", own)) as draft:
        assert draft.loaded.apps["blog"].stack == "stacks/blog/stack.yml"
        recipe = recipe_of(draft.loaded.apps["blog"], draft.loaded, Catalog())
        assert set(recipe.extension.secrets) == {"token"}


def test_choices_of_the_operator_are_kept(site: LoadedSite, source: Path) -> None:
    file = source / "alone.yml"
    with pytest.raises(SiteError, match="--allow-host-paths"), prepared(site, Request("x", file)):
        pass
    assert not (site.folder / "stacks/x.yml").exists()
    assert not (site.folder / "apps/x.yml").exists()
    with prepared(site, Request("x", file, allow_host_paths=True)) as draft:
        app = draft.loaded.apps["x"]
        assert app.stack == "stacks/x.yml"
        assert recipe_of(app, draft.loaded, Catalog()).services["web"]["volumes"]


def test_files_are_put_back_when_it_was_a_mistake(site: LoadedSite, source: Path) -> None:
    with (
        pytest.raises(OperatorError, match="too late"),
        prepared(site, Request("blog", source / "stack.yml")),
    ):
        raise OperatorError("too late")
    assert not (site.folder / "stacks/blog/stack.yml").exists()
    assert not (site.folder / "apps/blog.yml").exists()


def test_what_is_no_text_file_is_said_so(site: LoadedSite, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"\xff\xfe\x00")
    for name in ("x.yml", "gone.yml"):
        with pytest.raises(OperatorError), prepared(site, Request("x", tmp_path / name)):
            pass
