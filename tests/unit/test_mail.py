"""The site's one mail relay: who gets it, with which password, and what is said without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ronron.catalog import lint, mail
from ronron.catalog.recipe import Recipe, find, load
from ronron.catalog.render import render
from ronron.catalog.stack import Stack
from ronron.errors import OperatorError, SiteError
from ronron.plan.make import SITE, rendered, with_mail
from ronron.site.load import load_site
from ronron.site.models import App, Site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key

RELAY = {"host": "relay.example.org", "user": "cloud", "from": "cloud@example.org"}
LOGIN = ("mail_security", "mail_user", "mail_password")


def site(**relay: Any) -> Site:
    content = {"name": "s", "domain": "example.org", "contact": "a@example.org"}
    return Site.model_validate({**content, "mail": relay or None})


def stack(app: App, declared: Site) -> Stack:
    recipe = find(str(app.recipe))
    return render(app, recipe, declared, {name: f"app_{name}" for name in recipe.extension.secrets})


def environment(made: Stack) -> dict[str, Any]:
    found: dict[str, Any] = made.compose["services"]["web"]["environment"]
    return found


def ghost(**parameters: str | int) -> App:
    return App.model_validate({"name": "blog", "recipe": "ghost", "parameters": parameters})


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    recipient = create_key(tmp_path / "key")
    (tmp_path / "recipients.txt").write_text(recipient)
    return Vault(tmp_path, tmp_path / "key")


def test_an_app_has_the_sites_relay() -> None:
    made = stack(ghost(), site(**RELAY))
    found = environment(made)
    assert found["mail__options__host"] == "relay.example.org"
    assert str(found["mail__options__port"]) == "587"
    assert (found["MAIL_SECURITY"], found["MAIL_USER"]) == ("starttls", "cloud")
    assert found["mail__from"] == "cloud@example.org"
    assert "mail_password" in made.secrets


def test_what_an_apps_file_says_comes_first() -> None:
    found = environment(stack(ghost(mail_from="blog@example.org"), site(**RELAY)))
    assert found["mail__from"] == "blog@example.org"
    assert found["MAIL_USER"] == "cloud"


@pytest.mark.parametrize("host", ["other.example.org", ""])
def test_an_app_with_a_relay_of_its_own_gets_nothing_of_the_sites(host: str) -> None:
    made = stack(ghost(mail_host=host), site(**RELAY))
    found = environment(made)
    assert (found["mail__options__host"], found["MAIL_USER"]) == (host, "")
    assert "cloud" not in made.text
    assert "mail_password" not in made.text


def test_a_relay_without_an_account_needs_no_password(vault: Vault) -> None:
    declared = site(host="relay.example.org", **{"from": "a@example.org"})
    made = stack(ghost(), declared)
    assert environment(made)["mail__options__host"] == "relay.example.org"
    assert "mail_password" not in made.text
    assert with_mail(None, ghost(), find("ghost"), declared, vault) is None


def test_a_recipe_that_cannot_log_in_gets_no_relay_that_wants_it() -> None:
    app = App(name="chat", recipe="mattermost")
    assert "relay.example.org" not in stack(app, site(**RELAY)).text
    plain = {"host": "relay.example.org", "security": "none", "from": "a@example.org"}
    assert "relay.example.org" in stack(app, site(**plain)).text


def test_the_sites_password_reaches_the_app_and_its_digest(vault: Vault) -> None:
    declared, recipe = site(**RELAY), find("ghost")
    own = Secrets({"db_password": Secret("a"), "db_root_password": Secret("b")})
    with pytest.raises(OperatorError) as caught:
        with_mail(own, ghost(), recipe, declared, vault)
    said = "ronron.yml: mail.user: its password is not in the vault"
    assert str(caught.value) == f"{said} (ronron secrets set site mail_password)"
    vault.write(SITE, Secrets({"mail_password": Secret("one")}))
    one = with_mail(own, ghost(), recipe, declared, vault)
    assert one is not None
    assert one.values["mail_password"].reveal() == "one"
    vault.write(SITE, Secrets({"mail_password": Secret("two")}))
    two = with_mail(own, ghost(), recipe, declared, vault)
    first, missing = rendered(ghost(), recipe, declared, one, 1500)
    second, _ = rendered(ghost(), recipe, declared, two, 1500)
    assert missing == ()
    assert first.secrets["mail_password"] != second.secrets["mail_password"]
    assert first.digest != second.digest


def test_an_account_of_the_apps_own_has_the_apps_own_password(vault: Vault) -> None:
    declared, recipe, app = site(**RELAY), find("ghost"), ghost(mail_user="blog")
    vault.write(SITE, Secrets({"mail_password": Secret("the site's")}))
    with pytest.raises(OperatorError, match="ronron secrets set blog mail_password"):
        with_mail(Secrets(), app, recipe, declared, vault)
    own = Secrets({"mail_password": Secret("its own")})
    found = with_mail(own, app, recipe, declared, vault)
    assert found is own


def test_it_is_never_made_up() -> None:
    _, missing = rendered(ghost(), find("ghost"), site(), None, 1500)
    assert missing == ("db_password", "db_root_password")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host: relay", "mail.from: missing (add it: E-mail address that the apps send from.)"),
        ("host: relay\n  from: nobody", "mail.from: 'nobody' is not an e-mail address"),
        ("host: smtp://relay\n  from: a@example.org", "mail.host: 'smtp://relay' is a URL"),
        ("host: relay\n  from: a@example.org\n  security: ssl", "mail.security: 'ssl'"),
        ("host: relay\n  from: a@example.org\n  password: x", "mail.password: unknown key"),
        ("host: relay\n  zzz: 1", "known here: host, security, port, user, from"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, said: str) -> None:
    head = "name: s\ndomain: example.org\ncontact: a@example.org\nmail:\n  "
    (tmp_path / "ronron.yml").write_text(head + text + "\n")
    with pytest.raises(SiteError) as caught:
        load_site(tmp_path)
    assert said in "\n".join(map(str, caught.value.problems))


STACK = """\
x-ronron:
  title: T
  license: MIT
  parameters: {PARAMETERS}
services:
  web:
    image: a:1.0
    environment: {A: "${smtp_host:-}${mail_host:-}${mail_port:-}${mail_from:-}"}
"""


def told(folder: Path, parameters: str) -> list[str]:
    (folder / "t").mkdir(exist_ok=True)
    (folder / "t" / "stack.yml").write_text(STACK.replace("{PARAMETERS}", f"{{{parameters}}}"))
    return [item.message for item in lint.lint(load(folder / "t")) if item.rule == "mail"]


def test_the_lint_wants_the_fixed_names(tmp_path: Path) -> None:
    assert told(tmp_path, "title: {}") == []
    assert told(tmp_path, "mail_host: {}, mail_port: {}, mail_from: {}") == []
    assert "smtp_host: the site's one mail" in told(tmp_path, "smtp_host: {}")[0]
    assert "mail_port, mail_from: the site's" in told(tmp_path, "mail_host: {}")[0]
    both = told(tmp_path, "mail_host: {}, mail_port: {}, mail_from: {}, mail_user: {}")
    assert both == ["mail_user and the secret mail_password belong together"]


def test_a_plain_stack_files_own_secret_of_that_name_stays() -> None:
    recipe = find("hello")
    extension = recipe.extension.model_copy(update={"secrets": {"mail_password": {}}})
    plain = Recipe(recipe.name, recipe.folder, extension, recipe.stack)
    assert not mail.is_relays(plain, "mail_password")
