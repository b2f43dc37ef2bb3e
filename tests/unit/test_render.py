"""Rendering: each site in `tests/golden` becomes what is in its folder `rendered`.

After a change that is meant, write those files again and read the difference:

    GOLDEN=write pytest tests/unit/test_render.py
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ronron.catalog.interpolate import escape
from ronron.catalog.recipe import Catalog, builtin_folder, load, names
from ronron.catalog.render import render
from ronron.catalog.routing import PROXY_NETWORK, overlay_options
from ronron.catalog.stack import PLATFORM, Stack
from ronron.errors import SiteError
from ronron.plan.make import recipe_of, rendered
from ronron.site.load import load_site
from ronron.site.models import App, Site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets

GOLDEN = Path(__file__).parent.parent / "golden"
SITE = Site(name="cats", domain="example.org", contact="cat@example.org")


def stacks(case: Path) -> dict[str, Stack]:
    """Every app of the site in a folder, rendered."""
    loaded = load_site(case)
    catalog = Catalog(loaded.recipes)
    found = {}
    for app in loaded.apps.values():
        recipe = recipe_of(app, loaded, catalog)
        known = {name: Secret(f"the {name}") for name in recipe.extension.secrets}
        secrets = Secrets(known, Secret("00" * 32))
        found[app.name], missing = rendered(app, recipe, loaded.site, secrets, 1500)
        assert missing == ()
    return found


def shown(stack: Stack, case: Path) -> dict[str, Any]:
    """What a golden file holds of a stack."""
    images = [
        {**asdict(image), "folder": str(image.folder.relative_to(case)) if image.folder else None}
        for image in stack.images
    ]
    content: dict[str, Any] = {
        "recipe": stack.recipe,
        "domain": stack.domain,
        "health": stack.health,
        "images": images,
        "volumes": [{**asdict(volume), "label": volume.label} for volume in stack.volumes],
        "secrets": dict(stack.secrets),
        "configs": {
            name: {"content": config.content.decode(), "template": config.template}
            for name, config in stack.configs.items()
        },
        "stack": stack.compose,
    }
    return json.loads(json.dumps(content))  # type: ignore[no-any-return]


CASES = sorted(path.parent for path in GOLDEN.glob("*/ronron.yml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_site_renders_as_its_golden_files_say(case: Path) -> None:
    folder = case / "rendered"
    found = {name: shown(stack, case) for name, stack in stacks(case).items()}
    if os.environ.get("GOLDEN") == "write":
        folder.mkdir(exist_ok=True)
        for name, content in found.items():
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
            (folder / f"{name}.yml").write_text(text)
    golden = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml")}
    assert found == golden


@pytest.mark.parametrize("name", names())
def test_every_built_in_recipe_keeps_what_the_platform_promises(name: str) -> None:
    recipe = Catalog().find(name)
    app = App(name="app", recipe=name, parameters=needed(name))
    secrets = {secret: f"app_{secret}_0123456789" for secret in recipe.extension.secrets}
    stack = render(app, recipe, SITE, secrets)
    services = stack.compose["services"]
    for body in services.values():
        assert body["image"].startswith("registry.ronron.internal:5000/")
        assert body["deploy"]["labels"]["ronron.app"] == "app"
        assert body["deploy"]["endpoint_mode"] == "dnsrr"
        assert all(port["mode"] == "host" for port in body.get("ports", ()))
    on_proxy = {service for service, body in services.items() if PROXY_NETWORK in networks(body)}
    assert on_proxy == ({"web"} if recipe.extension.web else {"web.proxy"} & set(services))
    assert set(stack.secrets) == set(recipe.extension.secrets) - {"mail_password"}
    mounts = [(body, str(body.get("volumes"))) for body in services.values()]
    for volume in stack.volumes:
        users = [body["deploy"] for body, mounted in mounts if f"'{volume.name}'" in mounted]
        assert len(users) == len(volume.services)
        for deploy in users:
            assert f"node.labels.{volume.label} == true" in deploy["placement"]["constraints"]
            assert deploy["update_config"]["order"] == "stop-first"
    assert json.loads(stack.text) == json.loads(json.dumps(escape(stack.compose)))


def networks(body: dict[str, Any]) -> set[str]:
    return set(body.get("networks") or ["default"])


def needed(name: str) -> dict[str, Any]:
    """Values for the parameters that a recipe wants to be told."""
    rules = Catalog().find(name).extension.parameters
    return {
        key: rule.choices[0] if rule.choices else "x@example.org"
        for key, rule in rules.items()
        if rule.required
    }


def test_the_platform_starts_in_its_order() -> None:
    assert PLATFORM == ("socket-proxy", "registry", "proxy")
    assert all((builtin_folder() / name / "stack.yml").is_file() for name in PLATFORM)


def test_an_override_of_an_image_is_not_built_from_the_recipes_folder() -> None:
    hello = Catalog().find("hello")
    own = render(App(name="a", recipe="hello"), hello, SITE, {}).images[0]
    assert own.folder == hello.folder
    assert own.reference.endswith("/hello:1.0-" + hello.folder_digest(hello.folder))
    same = App(name="a", recipe="hello", images={"web": "hello:1.0"})
    assert render(same, hello, SITE, {}).images[0] == own
    other = App(name="a", recipe="hello", images={"web": "nginx:1.29"})
    image = render(other, hello, SITE, {}).images[0]
    assert (image.folder, image.reference) == (None, "registry.ronron.internal:5000/nginx:1.29")


@given(
    st.dictionaries(st.sampled_from(["title", "version"]), st.text(), max_size=2),
    st.sampled_from([None, "blog.example.net"]),
)
def test_rendering_is_pure_and_values_arrive_as_they_are(
    parameters: dict[str, Any], domain: str | None
) -> None:
    hello = Catalog().find("hello")
    app = App(name="a", recipe="hello", parameters=parameters, domain=domain)
    one, other = render(app, hello, SITE, {}), render(app, Catalog().find("hello"), SITE, {})
    assert (one.text, one.digest) == (other.text, other.digest)
    environment = one.compose["services"]["web"]["environment"]
    for name, value in parameters.items():
        if value:
            assert environment[name.upper()] == value
    # Docker interpolates the text once more: what it reads is what was rendered.
    text = json.loads(one.text)["services"]["web"]["environment"]["TITLE"]
    assert text.replace("$$", "$") == environment["TITLE"]
    assert "$" not in text.replace("$$", "")


@given(st.integers(1300, 9000), st.booleans())
def test_packets_of_the_overlay_fit_the_link(mtu: int, encrypted: bool) -> None:
    site = SITE.model_copy(
        update={"network": SITE.network.model_copy(update={"encrypted": encrypted})}
    )
    options = overlay_options(site, mtu)
    assert int(options["com.docker.network.driver.mtu"]) + 50 + 50 * encrypted <= mtu
    assert options.get("encrypted") == ("true" if encrypted else None)


def test_all_that_does_not_fit_the_recipe_is_told_together() -> None:
    app = App.model_validate(
        {
            "name": "news",
            "recipe": "paper",
            "parameters": {"per_page": "many", "drafts": "perhaps", "colour": "red"},
            "limits": {"wbe": {"memory": "1G"}},
            "replicas": {"job": 2},
            "images": {"proxy": "x:1"},
        }
    )
    paper = load(GOLDEN / "everything" / "recipes" / "paper")
    with pytest.raises(SiteError) as caught:
        render(app, paper, SITE, {})
    assert [str(problem) for problem in caught.value.problems] == [
        "apps/news.yml: parameters.title: missing (Its name)"
        " (add it, or deploy with --set title=…)",
        "apps/news.yml: parameters.per_page: must be a whole number",
        "apps/news.yml: parameters.drafts: must be true or false",
        "apps/news.yml: parameters.colour: unknown parameter (paper has: drafts, per_page, title)",
        "apps/news.yml: limits.wbe: unknown service (paper has: web, db, cache)",
        "apps/news.yml: replicas.job: unknown service (paper has: web, db, cache)",
        "apps/news.yml: images.proxy: unknown service (paper has: web, db, cache)",
    ]


def test_two_tasks_never_write_one_database() -> None:
    paper = load(GOLDEN / "everything" / "recipes" / "paper")
    app = App(name="news", recipe="paper", parameters={"title": "x"}, replicas={"db": 2})
    with pytest.raises(SiteError, match=r"apps/news\.yml: replicas\.db: 2 tasks would write"):
        render(app, paper, SITE, {})
    for few in (0, 1):
        render(app.model_copy(update={"replicas": {"db": few}}), paper, SITE, {})


def test_a_config_whose_file_is_missing_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text(
        "x-ronron: {title: X, license: MIT}\nservices: {a: {image: 'a:1'}}\n"
        "configs: {page: {file: ./page.html}}\n"
    )
    with pytest.raises(SiteError, match=r"configs\.page\.file: \./page\.html cannot be read"):
        render(App(name="a", recipe="x"), load(tmp_path), SITE, {})


def test_ports_beside_the_proxy_are_published_one_by_one(tmp_path: Path) -> None:
    def ports(*written: object) -> Any:
        (tmp_path / "stack.yml").write_text(
            "x-ronron: {title: X, license: MIT}\n"
            f"services: {{a: {{image: 'a:1', ports: {json.dumps(written)}}}}}\n"
        )
        stack = render(App(name="a", recipe="x"), load(tmp_path), SITE, {})
        return stack.compose["services"]["a"]["ports"]

    expected = {"target": 53, "mode": "host", "protocol": "udp", "published": 5353}
    assert ports("5353:53/udp") == [expected]
    for written in ("9000-9005:9000-9005", "10.0.0.5:9000:9000"):
        with pytest.raises(SiteError, match=rf"services\.a\.ports: {written}: neither"):
            ports(written)
    assert len(ports("53:53/tcp", "53:53/udp")) == 2
    for second in ("81:80", {"target": 80, "published": 81}):
        with pytest.raises(SiteError, match=r"services\.a\.ports: 80/tcp is published twice"):
            ports("80:80", second)


@pytest.mark.parametrize(
    ("upstream", "reference"),
    [
        ("nginx:1.29", "nginx:1.29"),
        ("ghcr.io/team/app:2", "ghcr.io/team/app:2"),
        ("registry.example.org:5443/team/app:1", "registry.example.org-5443/team/app:1"),
        ("nginx@sha256:" + "0" * 64, "nginx:latest-e191bc1aec7e"),
        ("nginx:1.29@sha256:" + "0" * 64, "nginx:1.29-e191bc1aec7e"),
    ],
)
def test_every_image_has_one_valid_name_in_the_sites_registry(
    upstream: str, reference: str
) -> None:
    hello = Catalog().find("hello")
    app = App(name="a", recipe="hello", images={"web": upstream})
    found = render(app, hello, SITE, {}).images[0].reference
    assert found == f"registry.ronron.internal:5000/{reference}"
    # The form of the distribution project's reference package, for names in lower case.
    name, _, tag = found.removeprefix("registry.ronron.internal:5000/").rpartition(":")
    assert re.fullmatch(r"[a-z0-9]+([._/-][a-z0-9]+)*", name)
    assert re.fullmatch(r"\w[\w.-]{0,127}", tag)


def test_an_apps_domain_is_its_own_or_below_the_sites() -> None:
    hello = Catalog().find("hello")
    assert render(App(name="hi", recipe="hello"), hello, SITE, {}).domain == "hi.example.org"
    own = App(name="hi", recipe="hello", domain="hi.example.net")
    stack = render(own, hello, SITE, {})
    assert stack.domain == "hi.example.net"
    labels = stack.compose["services"]["web"]["deploy"]["labels"]
    assert labels["traefik.http.routers.hi.rule"] == "Host(`hi.example.net`)"


@pytest.mark.parametrize(
    "mount",
    [
        "/var/run/docker.sock:/var/run/docker.sock:ro",
        {"type": "bind", "source": "/run/ronron-engine", "target": "/engine"},
    ],
)
def test_a_container_gets_dockers_socket_for_a_reason_alone(tmp_path: Path, mount: Any) -> None:
    extension = {"title": "Panel", "license": "MIT", "host_paths": "It shows them."}
    content = {"services": {"panel": {"image": "panel:1", "volumes": ["data:/data", mount]}}}
    (tmp_path / "panel").mkdir()
    path = tmp_path / "panel" / "stack.yml"

    def stack(**more: str) -> Stack:
        whole = {"x-ronron": extension | more, "volumes": {"data": {}}, **content}
        path.write_text(json.dumps(whole))
        return render(App(name="panel", recipe="panel"), load(path.parent), SITE, {})

    with pytest.raises(SiteError) as caught:
        stack()
    assert "recipes/panel/stack.yml: services.panel.volumes[1]: with " in str(caught.value)
    assert "give the reason in x-ronron.docker_socket" in str(caught.value)
    assert stack(docker_socket="It starts containers.").compose["services"]
