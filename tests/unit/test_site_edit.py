"""Edits keep what they do not change, and what is written is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ronron.errors import OperatorError, SiteError
from ronron.site import edit, reading, yamltext
from ronron.site.load import load_site
from ronron.site.models import App, Limits, Server

SITE = """\
# my site
name: my-cloud
domain: example.org   # ours
contact: admin@example.org
servers:   # three of them
  master:
    address: master.example.net   # in the cellar
    roles: [manager, storage]

# Docker's packages
docker: {packages: debian}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ronron.yml").write_text(SITE)
    return tmp_path


def test_a_server_is_added_below_the_others_and_nothing_else_changes(folder: Path) -> None:
    server = Server(name="worker-1", address="worker-1.example.net", labels={"zone": "no"})
    site = edit.add_servers(folder, [server])
    assert site.servers["worker-1"] == server
    assert load_site(folder).site == site
    added = "  worker-1:\n    address: worker-1.example.net\n    labels: {zone: 'no'}\n"
    place = "    roles: [manager, storage]\n"
    assert (folder / "ronron.yml").read_text() == SITE.replace(place, place + added)


def test_adding_and_removing_a_server_gives_the_same_bytes(folder: Path) -> None:
    edit.add_servers(folder, [Server(name="worker-1")])
    edit.remove_servers(folder, ["worker-1"])
    assert (folder / "ronron.yml").read_text() == SITE


@pytest.mark.parametrize(
    "servers", ["servers:", "servers: {}", "servers:\n  # none yet", "", "servers: # none\n\n#end"]
)
def test_the_first_server_of_a_site(tmp_path: Path, servers: str) -> None:
    text = f"name: a\ndomain: example.org\ncontact: a@example.org\n{servers}"
    (tmp_path / "ronron.yml").write_text(text)
    edit.add_servers(tmp_path, [Server(name="master", address="10.0.0.1", roles=("manager",))])
    assert load_site(tmp_path).site.manager.address == "10.0.0.1"
    assert text.count("#") == (tmp_path / "ronron.yml").read_text().count("#")


def test_servers_written_on_one_line(tmp_path: Path) -> None:
    text = (
        "name: a\ndomain: example.org\ncontact: a@example.org\n"
        "servers: {m: {roles: [manager]}, w: }  # two\n"
    )
    (tmp_path / "ronron.yml").write_text(text)
    edit.add_servers(tmp_path, [Server(name="x", address="10.0.0.1")])
    changed = (tmp_path / "ronron.yml").read_text()
    assert changed.endswith("{m: {roles: [manager]}, w: , x: {address: 10.0.0.1} }  # two\n")
    edit.remove_servers(tmp_path, ["x"])
    edit.remove_servers(tmp_path, ["w"])
    assert (tmp_path / "ronron.yml").read_text().endswith("{m: {roles: [manager]} }  # two\n")


def test_a_change_that_makes_the_site_invalid_is_refused_and_nothing_is_written(
    folder: Path,
) -> None:
    with pytest.raises(SiteError, match=r"two managers .* losing either"):
        edit.add_servers(folder, [Server(name="m2", roles=("manager",))])
    with pytest.raises(OperatorError, match=r"servers\.master: is there already"):
        edit.add_servers(folder, [Server(name="master", address="other.example.net")])
    with pytest.raises(OperatorError, match=r"there is no server mastr \(did you mean master\?\)"):
        edit.remove_servers(folder, ["mastr"])
    assert (folder / "ronron.yml").read_text() == SITE


def test_two_managers_are_added_to_one_together(folder: Path) -> None:
    managers = [Server(name=f"m{i}", roles=("manager",)) for i in (2, 3)]
    assert len(edit.add_servers(folder, managers).managers) == 3


def test_an_app_is_changed_where_it_differs(folder: Path) -> None:
    app = App(
        name="blog",
        recipe="ghost",
        domain="blog.example.org",
        parameters={"title": "My: blog # 1", "posts": 5},
        limits={"web": Limits(memory="512M")},
    )
    path = edit.write_app(folder, app)
    assert load_site(folder).apps == {"blog": app}
    text = path.read_text()
    path.write_text(text.replace("512M", "512M   # enough").replace("5\n", "5  # a page\n"))
    changed = app.model_copy(
        update={"domain": "news.example.org", "limits": {"web": Limits(memory="1G")}}
    )
    edit.write_app(folder, changed)
    assert path.read_text() == text.replace("512M", "1G   # enough").replace(
        "5\n", "5  # a page\n"
    ).replace("blog.example.org", "news.example.org")
    edit.write_app(folder, App(name="blog", stack="blog.yml"))
    assert (
        path.read_text() == "# yaml-language-server: $schema=../.schema/app.json\nstack: blog.yml\n"
    )


def test_a_domain_in_its_own_letters_stays_so(folder: Path) -> None:
    (folder / "apps").mkdir()
    path = folder / "apps" / "blog.yml"
    path.write_text("recipe: ghost\ndomain: Été.example.org\n")
    app = load_site(folder).apps["blog"]
    edit.write_app(folder, app.model_copy(update={"replicas": {"web": 2}}))
    assert path.read_text() == "recipe: ghost\ndomain: Été.example.org\nreplicas:\n  web: 2\n"


def test_an_app_that_could_not_be_loaded_is_not_written(folder: Path) -> None:
    with pytest.raises(SiteError, match="proxy is an app of the platform"):
        edit.write_app(folder, App(name="proxy", recipe="proxy"))
    assert not (folder / "apps").exists()


def test_remove_app(folder: Path) -> None:
    edit.write_app(folder, App(name="blog", recipe="ghost"))
    edit.remove_app(folder, "blog")
    assert load_site(folder).apps == {}
    with pytest.raises(OperatorError, match=r"apps/blog\.yml: is not there"):
        edit.remove_app(folder, "blog")


scalars = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text("0123456789.eE+-_:", max_size=6)
    | st.sampled_from(
        ["no", "yes", "null", "~", "012", "0o7", "1e3", "1.5e3", "2020-01-01", "=", "<<"]
    )
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(-(10.0**17), 10.0**17)
)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True)
parameters = st.dictionaries(names | st.sampled_from(["no", "y", "null"]), scalars, max_size=4)


@given(parameters, parameters)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], second: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("site")
    for values in (first, second):
        path = edit.write_app(folder, App(name="blog", recipe="ghost", parameters=values))
        read = reading.read(path, "apps/blog.yml")
        assert isinstance(read, dict)
        assert read.get("parameters", {}) == values


@given(st.dictionaries(scalars.map(str), scalars))
def test_one_line_is_one_line(values: dict[str, Any]) -> None:
    text = "x: " + yamltext.inline(values)
    assert "\n" not in text
    assert reading.parse(text, "") == {"x": values}
