"""Deploying by name: what is written to the site's files, and when they are put back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from ronron.errors import OperatorError, RonronError, ServerError, SiteError
from ronron.plan.deploying import Draft, Request, prepared, restored
from ronron.site.load import LoadedSite, load_site
from ronron.site.vault import Vault, create_key
from ronron.swarm.converge import NotConverged

SITE = """\
name: cats
domain: example.org
contact: cat@example.org
servers: {master: {roles: [manager]}}
"""
BLOG = """\
# The association's blog.
recipe: hello   # tiny
parameters:
  title: Meow
"""
STACK = """\
services:
  page:
    image: page-of-tests:1
    environment: {TITLE: "${TITLE:-none}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    (site / "apps").mkdir(parents=True)
    (site / "ronron.yml").write_text(SITE)
    (site / "apps" / "blog.yml").write_text(BLOG)
    monkeypatch.setenv("RONRON_KEY_FILE", str(tmp_path / "key"))
    (site / "recipients.txt").write_text(create_key(tmp_path / "key"))
    monkeypatch.chdir(tmp_path)
    return site


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of a folder: its content and its mode."""
    return {
        str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


def deploy(
    folder: Path, request: Request, error: BaseException | None = None, *, begun: bool = True
) -> LoadedSite:
    """Prepare the request, begin to carry it out, and fail with `error` if there is one."""
    with prepared(load_site(folder), request) as draft:
        assert isinstance(draft, Draft)
        draft.begun = begun
        if error is not None:
            raise error
        return draft.loaded


def content(folder: Path, name: str) -> object:
    return yaml.safe_load((folder / "apps" / f"{name}.yml").read_text())


def test_a_new_app_is_written_as_it_is_asked_for(folder: Path) -> None:
    request = Request(
        "hi",
        "hello",
        domain="hi.example.net",
        parameters={"title": "Hi"},
        replicas={"web": "2"},
        images={"web": "hello:1.1"},
    )
    loaded = deploy(folder, request)
    assert content(folder, "hi") == {
        "recipe": "hello",
        "domain": "hi.example.net",
        "parameters": {"title": "Hi"},
        "replicas": {"web": 2},
        "images": {"web": "hello:1.1"},
    }
    assert loaded.apps["hi"].replicas == {"web": 2}
    assert loaded == load_site(folder)


def test_an_app_that_is_there_is_changed_where_it_is_asked_and_keeps_its_comments(
    folder: Path,
) -> None:
    deploy(folder, Request("blog", "hello", parameters={"version": "2"}))
    text = (folder / "apps" / "blog.yml").read_text()
    assert content(folder, "blog") == {
        "recipe": "hello",
        "parameters": {"title": "Meow", "version": "2"},
    }
    assert "# The association's blog." in text
    assert "# tiny" in text


def test_asking_for_what_is_there_changes_no_byte(folder: Path) -> None:
    before = snapshot(folder)
    deploy(folder, Request("blog", "hello", parameters={"title": "Meow"}))
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "error",
    [
        OperatorError("a parameter is wrong"),
        NotConverged("the new version did not work", rolled_back=True),
    ],
)
def test_what_came_to_nothing_leaves_no_trace(folder: Path, error: RonronError) -> None:
    (folder / "apps" / "blog.yml").chmod(0o600)
    before = snapshot(folder)
    for request in (
        Request("blog", "hello", parameters={"title": "X"}),
        Request("new", "hello"),
        Request("page", stack_file(folder), web="page:80"),
        Request("page", secretive(folder), web="page:80"),
    ):
        with pytest.raises(type(error)):
            deploy(folder, request, error)
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "error",
    [
        RonronError("not confirmed: nothing was changed"),
        ServerError("master", "no answer"),
        KeyboardInterrupt(),
    ],
)
def test_before_anything_is_begun_every_error_leaves_no_trace(
    folder: Path, error: BaseException
) -> None:
    before = snapshot(folder)
    for request in (Request("blog", "hello", domain="a.example.org"), Request("new", "hello")):
        with pytest.raises(type(error)):
            deploy(folder, request, error, begun=False)
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "error",
    [
        NotConverged("does not start", rolled_back=False),
        ServerError("master", "the connection was lost"),
        KeyboardInterrupt(),
    ],
)
def test_what_the_servers_have_begun_stays_in_the_site(folder: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        deploy(folder, Request("new", "hello"), error)
    assert content(folder, "new") == {"recipe": "hello"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("new", "hallo"), "did you mean hello"),
        (Request("blog", "ghost"), "apps/blog.yml: is there already, from hello"),
        (Request("new", "hello", domain="blog.example.org"), "taken by app blog"),
        (Request("new", "hello", domain="no domain"), "apps/new.yml: domain"),
        (Request("new", "hello", replicas={"web": "two"}), "replicas.web"),
        (Request("new", "hello", replicas={"web": "²"}), "replicas.web"),
        (Request("new", "hello", images={"web": "not an image"}), "images.web"),
        (Request("proxy", "hello"), "app of the platform"),
        (Request("../evil", "hello"), "apps/../evil.yml"),
    ],
)
def test_a_wrong_request_is_the_operators_mistake(
    folder: Path, request_: Request, said: str
) -> None:
    before = snapshot(folder.parent)
    with pytest.raises(OperatorError) as caught:
        deploy(folder, request_)
    assert said in str(caught.value)
    assert snapshot(folder.parent) == before


def secretive(folder: Path) -> Path:
    """A plain stack file with a secret in a file beside it."""
    path = folder.parent / "secretive.yml"
    path.write_text(STACK + "    secrets: [licence]\nsecrets: {licence: {file: ./licence.txt}}\n")
    (folder.parent / "licence.txt").write_text("hunter2x")
    return path


def test_secrets_of_a_stack_file_go_into_the_vault(folder: Path) -> None:
    deploy(folder, Request("page", secretive(folder), web="page:80"))
    vault = Vault(folder, folder.parent / "key")
    assert vault.read("page").values["licence"].reveal() == "hunter2x"
    assert "hunter2x" not in "".join(text for text, _ in snapshot(folder).values())


def stack_file(folder: Path, text: str = STACK) -> Path:
    """A plain stack file outside of the site."""
    path = folder.parent / "page.yml"
    path.write_text(text)
    return path


def test_a_plain_stack_file_is_copied_into_the_site(folder: Path) -> None:
    source = stack_file(folder)
    source.chmod(0o444)
    for title in ("One", "Two"):
        request = Request("page", source, web="page:80", parameters={"TITLE": title})
        deploy(folder, request)
    assert content(folder, "page") == {
        "stack": "stacks/page.yml",
        "web": "page:80",
        "parameters": {"TITLE": "Two"},
    }
    assert yaml.safe_load((folder / "stacks" / "page.yml").read_text()) == yaml.safe_load(STACK)
    with pytest.raises(OperatorError, match="is there already, from stacks/page"):
        deploy(folder, Request("page", "hello"))


def test_a_stack_file_that_is_in_the_site_stays_where_it_is(folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "page.yml").write_text(STACK)
    (folder / "apps" / "page.yml").write_text("stack: own/page.yml\nweb: page:80\n")
    deploy(folder, Request("page", folder / "own" / "page.yml", parameters={"TITLE": "X"}))
    assert content(folder, "page") == {
        "stack": "own/page.yml",
        "web": "page:80",
        "parameters": {"TITLE": "X"},
    }
    assert not (folder / "stacks").exists()


@pytest.mark.parametrize("name", ["../evil", "Page", "proxy", "a/b"])
def test_a_stack_file_is_written_nowhere_for_a_wrong_name(folder: Path, name: str) -> None:
    source = stack_file(folder)
    before = snapshot(folder.parent)
    with pytest.raises(SiteError):
        deploy(folder, Request(name, source, web="page:80", replace_passwords=True))
    assert snapshot(folder.parent) == before
    assert not (folder / "vault").exists()


def test_a_stack_file_that_is_not_there_is_the_operators_mistake(folder: Path) -> None:
    with pytest.raises(OperatorError, match="No such file"):
        deploy(folder, Request("page", folder.parent / "nowhere.yml"))
    assert not (folder / "apps" / "page.yml").exists()


def test_a_rolled_back_app_is_declared_as_it_was(folder: Path) -> None:
    loaded = load_site(folder)
    was = loaded.apps["blog"].model_dump(mode="json", exclude_defaults=True)
    changed = deploy(folder, Request("blog", "hello", parameters={"title": "New"}))
    again = restored(changed, was)
    assert again.apps["blog"] == loaded.apps["blog"]
    assert load_site(folder).apps["blog"] == loaded.apps["blog"]
    assert "# The association's blog." in (folder / "apps" / "blog.yml").read_text()
