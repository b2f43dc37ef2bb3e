"""What stands before an app in the proxy: its labels, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import pytest

from ronron.catalog import access, guards
from ronron.catalog.recipe import Catalog, Recipe, builtin_folder, find, load, names
from ronron.catalog.render import render
from ronron.catalog.stack import Stack
from ronron.catalog.stackfile import read_stack
from ronron.errors import Problem, SiteError
from ronron.plan.make import _same_encryption, rendered
from ronron.plan.secrets import fixed
from ronron.site.load import parse_app
from ronron.site.models import App, Site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets
from ronron.swarm.state import SwarmState

SITE = Site(name="cats", domain="example.org", contact="cat@example.org")
HASH = "$2b$08$abc"


def app(recipe: str | None = "hello", **fields: Any) -> App:
    problems: list[Problem] = []
    found = parse_app("blog", {"recipe": recipe, **fields}, problems)
    assert found is not None, problems
    return found


def faults(**fields: Any) -> str:
    problems: list[Problem] = []
    parse_app("blog", {"recipe": "hello", **fields}, problems)
    return "\n".join(map(str, problems))


def stack(found: App, recipe: Recipe | None = None) -> Stack:
    recipe = recipe or Catalog().find(str(found.recipe))
    names = {name: f"blog_{name}_1" for name in recipe.extension.secrets}
    users = dict.fromkeys(found.access.users, HASH)
    return render(found, recipe, SITE, names, 1500, users)


def labels(found: App, recipe: Recipe | None = None) -> dict[str, str]:
    services = stack(found, recipe).compose["services"]
    found_labels: dict[str, str] = {}
    for body in services.values():
        found_labels |= body["deploy"]["labels"]
    return found_labels


def middlewares(found: dict[str, str], router: str = "blog") -> list[str]:
    return found[f"traefik.http.routers.{router}.middlewares"].split(",")


def sent(found: dict[str, str]) -> dict[str, str]:
    """The headers that the proxy sets."""
    prefix = "traefik.http.middlewares.blog-headers.headers.customresponseheaders."
    return {key.removeprefix(prefix): it for key, it in found.items() if key.startswith(prefix)}


def test_every_app_gets_the_headers() -> None:
    found = labels(app())
    assert sent(found) == dict(guards.HEADERS)
    assert middlewares(found) == ["blog-headers", "blog-retry"]


def test_an_app_says_how_its_headers_differ_and_why() -> None:
    said = {
        "set": {"x-frame-options": "DENY", "Content-Security-Policy": "default-src 'self'"},
        "own": ["Referrer-Policy"],
        "reason": "it is shown nowhere else",
    }
    found = sent(labels(app(headers=said)))
    assert "Referrer-Policy" not in found
    assert "X-Frame-Options" not in found
    assert found["x-frame-options"] == "DENY"
    assert found["Content-Security-Policy"] == "default-src 'self'"
    assert found["Strict-Transport-Security"] == "max-age=63072000"


def test_an_apps_own_words_come_after_the_recipes() -> None:
    said = {"set": {"Referrer-Policy": "origin"}, "reason": "for a test"}
    assert sent(labels(app("vaultwarden", headers=said)))["Referrer-Policy"] == "origin"
    assert "X-Frame-Options" not in sent(labels(app("vaultwarden")))


def test_the_guards_stand_in_their_order() -> None:
    found = labels(
        app(
            access={"addresses": ["192.0.2.0/24", "2001:db8::1"], "users": ["alice", "bob"]},
            traffic={"rate": "20/s", "burst": 50, "body": "10M"},
        )
    )
    assert middlewares(found) == [
        "blog-headers", "blog-addresses", "blog-rate", "blog-users", "blog-body", "blog-retry",
    ]  # fmt: skip
    prefix = "traefik.http.middlewares.blog-"
    assert found[f"{prefix}addresses.ipallowlist.sourcerange"] == "192.0.2.0/24,2001:db8::1"
    assert found[f"{prefix}rate.ratelimit.average"] == "20"
    assert found[f"{prefix}rate.ratelimit.period"] == "1s"
    assert found[f"{prefix}rate.ratelimit.burst"] == "50"
    assert found[f"{prefix}users.basicauth.users"] == f"alice:{HASH},bob:{HASH}"
    assert found[f"{prefix}users.basicauth.removeheader"] == "true"
    assert found[f"{prefix}body.buffering.maxrequestbodybytes"] == str(10 * 2**20)


def test_paths_that_upstream_warns_of_have_routers_of_their_own() -> None:
    found = labels(app("wordpress", access={"admin": ["192.0.2.7"]}))
    routers = {
        found[f"traefik.http.routers.blog_{number}.rule"]: middlewares(found, f"blog_{number}")
        for number in (1, 2)
    }
    host = "Host(`blog.example.org`)"
    assert routers == {
        f"({host}) && PathPrefix(`/wp-login.php`)": [
            "blog-headers", "blog-admin", "blog-path2", "blog-retry",
        ],
        f"({host}) && PathPrefix(`/xmlrpc.php`)": ["blog-headers", "blog-path1", "blog-retry"],
    }  # fmt: skip
    closed = "traefik.http.middlewares.blog-path1.ipallowlist.sourcerange"
    assert found[closed] == guards.NOBODY
    assert found["traefik.http.routers.blog_1.service"] == "blog"
    assert found["traefik.http.routers.blog_1.tls.certresolver"] == "acme"
    assert found["traefik.http.middlewares.blog-admin.ipallowlist.sourcerange"] == "192.0.2.7"


def test_guards_stand_before_every_route_of_a_stack_file() -> None:
    text = """
services:
  site:
    image: nginx:1.29
    labels:
      traefik.http.routers.a.rule: Host(`blog.example.org`)
      traefik.http.routers.a.middlewares: mine
      traefik.http.middlewares.mine.headers.framedeny: "true"
      traefik.http.middlewares.mine.headers.customresponseheaders.Referrer-Policy: origin
      traefik.http.services.a.loadbalancer.server.port: "80"
  api:
    image: nginx:1.29
    labels:
      traefik.http.routers.b.rule: Host(`blog.example.org`) && PathPrefix(`/api`)
      traefik.http.services.b.loadbalancer.server.port: "80"
"""
    recipe = read_stack(
        text, name="blog", file="blog.yml", folder=Path(), variables={}, domain="blog.example.org"
    )
    found = labels(app(recipe=None, stack="blog.yml", access={"users": ["alice"]}), recipe)
    routers = [key for key in found if key.endswith(".middlewares") and ".routers." in key]
    assert len(routers) == 2
    for router in routers:
        assert found[router].startswith("blog-headers,blog-users")
    # What its own labels set is left to them.
    assert {"X-Frame-Options", "Referrer-Policy"}.isdisjoint(sent(found))
    assert "X-Content-Type-Options" in sent(found)


@pytest.mark.parametrize(
    ("asked", "recipe", "statuses"),
    [
        ({}, "hello", ()),
        ({"users": ["a"]}, "hello", (401,)),
        ({"addresses": ["192.0.2.7"]}, "hello", (403,)),
        ({"admin": ["192.0.2.7"]}, "ghost", (403,)),
        ({"admin": ["192.0.2.7"]}, "vaultwarden", ()),
    ],
)
def test_who_asks_whether_it_answers_knows_how_strangers_are_refused(
    asked: dict[str, Any], recipe: str, statuses: tuple[int, ...]
) -> None:
    assert stack(app(recipe, access=asked)).refusals == statuses


def test_a_password_at_the_proxy_is_a_secret_of_the_app_and_no_service_reads_it() -> None:
    found = app(access={"users": ["alice"]})
    recipe = access.with_logins(Catalog().find("hello"), found)
    made, missing = rendered(found, recipe, SITE, None, 1500)
    assert missing == ("access_alice",)
    assert made.secrets == {}
    assert "ronron secrets set" in fixed(recipe, "access_alice")
    secrets = Secrets({"access_alice": Secret("tuna and milk")}, Secret("00" * 32))
    made, missing = rendered(found, recipe, SITE, secrets, 1500)
    assert missing == ()
    assert made.digest == rendered(found, recipe, SITE, secrets, 1500)[0].digest
    label = "traefik.http.middlewares.blog-users.basicauth.users"
    user, _, hashed = made.compose["services"]["web"]["deploy"]["labels"][label].partition(":")
    assert user == "alice"
    assert bcrypt.checkpw(b"tuna and milk", hashed.encode())
    assert "tuna" not in made.text
    # Docker interpolates what it reads: the dollars are doubled.
    assert hashed.replace("$", "$$") in made.text


def test_the_hash_is_another_in_another_vault() -> None:
    found = app(access={"users": ["alice"]})
    one, other = (
        access.hashes(found, Secrets({"access_alice": Secret("x" * 100)}, Secret(salt * 32)))
        for salt in ("00", "11")
    )
    assert one != other


def test_an_apps_networks_are_encrypted_on_request() -> None:
    site = SITE.model_copy(update={"network": SITE.network.model_copy(update={"encrypted": False})})
    recipe = Catalog().find("wordpress")
    for wanted in (True, False):
        found = render(app("wordpress", encrypted=wanted), recipe, site, {})
        options = found.compose["networks"]["default"]["driver_opts"]
        assert ("encrypted" in options) is wanted


@pytest.mark.parametrize(("there", "wanted"), [(True, False), (False, True)])
def test_a_network_that_is_used_is_not_changed_and_that_is_said(there: bool, wanted: bool) -> None:
    site = SITE.model_copy(update={"network": SITE.network.model_copy(update={"encrypted": False})})
    found = app("wordpress", encrypted=wanted)
    made = render(found, Catalog().find("wordpress"), site, {})
    options = {"encrypted": "true"} if there else {}
    swarm = SwarmState(networks={"blog_default": options})
    with pytest.raises(SiteError, match=r"apps/blog\.yml: encrypted: the network default is"):
        _same_encryption(found, made, swarm)
    _same_encryption(found, made, SwarmState())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"headers": {"own": ["Server"]}}, "headers.reason: missing (say why"),
        ({"headers": {"set": {"Set-Cookie": "a"}, "reason": "x"}}, "not a header that the proxy"),
        ({"headers": {"set": {"X-A": "a\r\nX-B: b"}, "reason": "x"}}, "not a header's value"),
        ({"headers": {"set": {"X-A": ""}, "reason": "x"}}, "name it under own:"),
        ({"headers": {"set": {"A.b": "c"}, "reason": "x"}}, "is not a header"),
        ({"headers": {"set": {"A": "c"}, "own": ["a"], "reason": "x"}}, "there twice"),
        ({"access": {"addresses": ["192.0.2.7/24"]}}, "write 192.0.2.0/24"),
        ({"access": {"addresses": ["0.0.0.0/0"]}}, "is everybody"),
        ({"access": {"addresses": ["office"]}}, "is not an address"),
        ({"access": {"addresses": ["192.0.2.7", "192.0.2.7/32"]}}, "there twice"),
        ({"access": {"users": ["alice:x"]}}, "is not a user name"),
        ({"access": {"users": ["a", "a"]}}, "there twice"),
        ({"traffic": {"rate": "20"}}, "is not a rate"),
        ({"traffic": {"burst": 2}}, "traffic.burst: is nothing without a rate"),
        ({"traffic": {"body": "1G"}}, "is not a size"),
        ({"traffic": {"body": "33M"}}, "at most 32M"),
    ],
)
def test_values_that_make_no_sense_are_refused(fields: dict[str, Any], said: str) -> None:
    assert said in faults(**fields)


def test_admin_paths_are_the_recipes() -> None:
    with pytest.raises(SiteError, match=r"apps/blog\.yml: access\.admin: the recipe hello names"):
        stack(app(access={"admin": ["192.0.2.7"]}))


@pytest.mark.parametrize(
    ("recipe", "remedy"),
    [
        ("monitoring", "leave the domain out; the recipe grafana has pages"),
        ("logs", "leave the domain out; the recipe elastic has pages"),
        ("registry", "leave the domain out"),
    ],
)
def test_a_recipe_without_a_web_page_takes_no_domain(recipe: str, remedy: str) -> None:
    values = {"name": "a", "recipe": recipe}
    assert list(guards.check(App.model_validate(values), find(recipe))) == []
    named = App.model_validate({**values, "domain": "cats.example.org"})
    (problem,) = guards.check(named, find(recipe))
    assert (problem.file, problem.path, problem.remedy) == ("apps/a.yml", "domain", remedy)


def test_an_app_without_a_domain_has_nobody_to_ask(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text(
        "x-ronron: {title: X, license: MIT}\nservices: {a: {image: 'a:1'}}\n"
    )
    with pytest.raises(SiteError, match=r"apps/blog\.yml: traffic: .* answers no domain"):
        stack(app(traffic={"rate": "1/s"}), load(tmp_path))


@pytest.mark.parametrize("name", names())
def test_what_a_recipe_says_of_its_headers_and_paths_has_a_reason(name: str) -> None:
    web = load(builtin_folder() / name, builtin=True).extension.web
    if web is None:
        return
    assert all(rule.reason.strip() for rule in web.paths)
    assert bool(web.headers.reason) is bool(web.headers.set or web.headers.own)
    # An admin path must not take the page away that tells whether the app works, but for Ghost's.
    assert name in ("ghost", "joomla", "wordpress") or not any(
        web.health.startswith(path) for path in web.admin
    )
