"""Planning: a declared site against a recorded swarm gives exactly the changes that are needed."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ronron.catalog.recipe import Catalog
from ronron.catalog.routing import PROXY_NETWORK, overlay_options
from ronron.catalog.stack import PLATFORM, Stack
from ronron.errors import OperatorError, ServerError, SiteError
from ronron.plan import platform
from ronron.plan.make import make, recipe_of, rendered
from ronron.plan.model import Change, Plan
from ronron.plan.observe import Reality
from ronron.servers.provision.model import ProvisioningPlan
from ronron.site.load import LoadedSite, load_site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key
from ronron.swarm import record, spec, state
from ronron.swarm.certificates import VAULT_NAME, registry_certificates
from ronron.swarm.facts import ServerFacts
from ronron.swarm.nodes import labels_of
from swarm_api import identity, network, node, recorded, secret, service, services_of

SITE = """\
name: cats
domain: example.org
contact: cat@example.org
servers:
  master: {roles: [manager, storage]}
  worker-1: {}
  worker-2: {}
firewall: {enabled: false}
hardening: {ssh: false, bans: false}
"""
RECIPE = """\
x-ronron:
  title: Page
  license: MIT
  web: {service: web, port: 80}
  secrets: [db_password]
  parameters: {title: {default: A page}, smtp_password: {default: ""}}
  volumes: {data: {class: database, uid: 70, gid: 70}}
  databases: {db: {service: db, volume: data, engine: mariadb, dump: [dump], restore: [restore]}}
services:
  web:
    image: page:1.0
    environment: {TITLE: "${title}", SMTP_PASSWORD: "${smtp_password}"}
    command: [serve, --listen, "0.0.0.0"]
    volumes: ["uploads:/uploads"]
    secrets: [db_password]
  db:
    image: page-db:1.0
    volumes: ["data:/data"]
    secrets: [db_password]
secrets: {db_password: {external: true}}
volumes: {uploads: {}, data: {}}
"""


@dataclasses.dataclass
class World:
    """A site in a folder, and the swarm that it has: `deploy` makes the swarm hold what is
    declared, as an apply does."""

    folder: Path
    vault: Vault
    items: dict[str, list[dict[str, Any]]]
    folders: set[str]
    failures: dict[str, ServerError]

    @property
    def loaded(self) -> LoadedSite:
        return load_site(self.folder)

    def app(self, name: str, text: str) -> None:
        (self.folder / "apps").mkdir(exist_ok=True)
        (self.folder / "apps" / f"{name}.yml").write_text(text)

    def stacks(self) -> dict[str, Stack]:
        loaded, catalog = self.loaded, Catalog(self.loaded.recipes)
        found = {}
        for app in (platform.apps(loaded) | loaded.apps).values():
            recipe = recipe_of(app, loaded, catalog)
            if recipe.extension.secrets and not self.vault.exists(app.name):
                made = {name: Secret(f"{app.name} {name}") for name in recipe.extension.secrets}
                self.vault.write(app.name, Secrets(made))
            secrets = self.vault.read(app.name) if recipe.extension.secrets else None
            found[app.name], _ = rendered(app, recipe, loaded.site, secrets, 1500)
        return found

    def deploy(self) -> None:
        """Make the swarm hold what the site declares, recorded as its first revision."""
        site = self.loaded.site
        self.items["nodes"] = [
            node(
                server.name,
                role="manager" if server.is_manager else "worker",
                labels=labels_of(server, site),
            )
            for server in site.servers.values()
        ]
        options = overlay_options(site)
        self.items["networks"] = [network(PROXY_NETWORK, site.network.subnet, options)]
        for stack in self.stacks().values():
            services = services_of(stack)
            prefix = f"{stack.app}_"
            specs = {
                item["Spec"]["Name"].removeprefix(prefix): spec.canonical(item["Spec"])
                for item in services
            }
            made = record.make(
                stack.app, 1, stack=stack.text, stack_digest=stack.digest, specs=specs, about={}
            )
            self.items["services"] += services
            self.items["configs"].append(recorded(made))
            self.items["secrets"] += [
                secret(name, {"ronron.app": stack.app}) for name in stack.secrets.values()
            ]
            self.folders |= {volume.path for volume in stack.volumes}

    def by_hand(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a service's specification as `docker service update` does."""
        (found,) = [i for i in self.items["services"] if i["Spec"]["Name"] == name]
        found["Spec"] = copy.deepcopy(found["Spec"])
        change(found["Spec"])

    def reality(self) -> Reality:
        facts = {
            name: ServerFacts(
                "active",
                identity(f"node-{name}"),
                name == "master",
                "eth0",
                1500,
                frozenset(self.folders if name == "master" else ()),
                placed=frozenset({0}),
            )
            for name in self.loaded.site.servers
            if name not in self.failures
        }
        return Reality(facts, dict(self.failures), state.from_api(**self.items))

    def plan(self, *only: str) -> Plan:
        loaded = self.loaded
        return make(
            loaded,
            self.reality(),
            ProvisioningPlan(),
            Catalog(loaded.recipes),
            self.vault,
            only or None,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    folder = tmp_path / "site"
    (folder / "recipes" / "page").mkdir(parents=True)
    (folder / "recipes" / "page" / "stack.yml").write_text(RECIPE)
    (folder / "ronron.yml").write_text(SITE)
    (folder / "recipients.txt").write_text(create_key(tmp_path / "key"))
    vault = Vault(folder, tmp_path / "key")
    vault.write(VAULT_NAME, registry_certificates())
    kinds = ("nodes", "services", "configs", "secrets", "networks")
    made = World(folder, vault, {kind: [] for kind in kinds}, set(), {})
    made.app("blog", "recipe: page")
    made.deploy()
    return made


def fields(plan: Plan) -> list[tuple[str, str, str | None, str | None]]:
    return [(item.where, item.field, item.before, item.after) for item in plan.changes]


def test_what_is_as_declared_needs_nothing(world: World) -> None:
    plan = world.plan()
    assert plan.changes == ()
    assert plan.empty


def test_servers_that_count_users_otherwise_are_refused_before_all_else(world: World) -> None:
    site = world.folder / "ronron.yml"
    site.write_text(f"{site.read_text()}docker: {{userns_remap: true}}\n")
    for only in ((), ("blog",)):
        with pytest.raises(OperatorError, match="userns_remap: master is in the swarm without it"):
            world.plan(*only)


def test_a_new_app_is_created_with_its_secrets_to_make(world: World) -> None:
    world.app("shop", "{recipe: page, domain: shop.example.net}")
    (change,) = world.plan().apps
    assert (change.app, change.action, change.new_secrets) == ("shop", "create", ("db_password",))
    assert [(item.field, item.after) for item in change.changes] == [
        ("domain", "shop.example.net"),
        ("services.web.image", "page:1.0"),
        ("services.db.image", "page-db:1.0"),
        ("volumes.uploads", "/srv/ronron/volumes/shop/uploads"),
        ("volumes.data", "/srv/ronron/volumes/shop/data"),
        ("secrets.db_password", "***"),
    ]
    assert all(item.before is None and item.where == "app shop" for item in change.changes)
    assert [volume.name for volume in change.volumes] == ["uploads", "data"]


def test_a_published_port_that_the_app_does_not_declare_is_told_closed(world: World) -> None:
    recipe = world.folder / "recipes" / "game" / "stack.yml"
    recipe.parent.mkdir()
    recipe.write_text(
        "x-ronron: {title: Game, license: MIT, published_ports: Players connect to it.}\n"
        "services:\n  game:\n    image: game:1.0\n"
        "    ports: [{target: 1, published: 9001, protocol: udp, mode: host},"
        " {target: 2, published: 9002, mode: host}]\n"
    )
    site = world.folder / "ronron.yml"
    site.write_text(site.read_text().replace("firewall: {enabled: false}\n", ""))
    world.app("game", "recipe: game\npublished_ports: [{port: 9002, why: players}]\n")
    (change,) = (one for one in world.plan("game").apps if one.app == "game")
    told = {item.field: item.after for item in change.changes if item.field.startswith("port ")}
    assert told == {"port udp/9001": "closed"}


def test_an_apps_file_changed_is_the_fields_that_change(world: World) -> None:
    world.app("blog", "{recipe: page, parameters: {title: New}, limits: {db: {memory: 1G}}}")
    (change,) = world.plan().apps
    assert change.action == "update"
    assert [(item.field, item.before, item.after) for item in change.changes] == [
        ("services.db.deploy.resources.limits.memory", None, "1G"),
        ("services.web.environment.TITLE", "A page", "New"),
    ]
    assert all("apps/blog.yml" in item.why for item in change.changes)


def test_a_recipe_changed_is_an_update_of_its_apps(world: World) -> None:
    path = world.folder / "recipes" / "page" / "stack.yml"
    path.write_text(path.read_text().replace("page:1.0", "page:1.1"))
    (change,) = world.plan().apps
    changed = {item.field: item.after for item in change.changes}
    assert changed["services.web.image"] == "registry.ronron.internal:5000/page:1.1"


@pytest.mark.parametrize(
    ("by_hand", "field", "before", "after"),
    [
        (
            lambda spec: spec["TaskTemplate"]["ContainerSpec"]["Env"].append("X=1"),
            "environment.X",
            "1",
            None,
        ),
        (lambda spec: spec["Mode"]["Replicated"].update(Replicas=3), "replicas", "3", "1"),
        (
            lambda spec: spec["TaskTemplate"]["ContainerSpec"].update(Image="evil:1"),
            "image",
            "evil:1",
            "registry.ronron.internal:5000/page:1.0",
        ),
        (lambda spec: spec["Labels"].pop("traefik.enable"), "labels.traefik.enable", None, "true"),
    ],
)
def test_drift_is_exactly_the_field_that_was_changed_by_hand(
    world: World,
    by_hand: Callable[[dict[str, Any]], None],
    field: str,
    before: str | None,
    after: str | None,
) -> None:
    world.by_hand("blog_web", by_hand)
    plan = world.plan()
    assert plan.changes == (
        Change("app blog", f"services.web.{field}", before, after, "changed by hand"),
    )
    assert [item.action for item in plan.apps] == ["repair"]


def test_drift_that_no_field_shows_is_repaired_and_said_all_the_same(world: World) -> None:
    world.by_hand("blog_web", lambda s: s["TaskTemplate"]["ContainerSpec"]["Env"].reverse())
    (change,) = world.plan().apps
    assert change.action == "repair"
    assert len(change.changes) == 1


def test_a_service_removed_or_added_by_hand_is_drift(world: World) -> None:
    kept = [i for i in world.items["services"] if i["Spec"]["Name"] != "blog_db"]
    world.items["services"] = [*kept, service("blog", "miner")]
    assert fields(world.plan()) == [
        ("app blog", "services.db", None, "running"),
        ("app blog", "services.miner", "running", None),
    ]


def test_a_restart_is_no_drift(world: World) -> None:
    world.by_hand("blog_web", lambda spec: spec["TaskTemplate"].update(ForceUpdate=5))
    assert world.plan().empty


def test_the_platform_is_repaired_too(world: World) -> None:
    world.by_hand("registry_registry", lambda spec: spec["Labels"].update(x="1"))
    assert [change.app for change in world.plan().apps] == ["registry"]


def test_what_is_no_longer_declared_is_removed_and_its_data_kept(world: World) -> None:
    (world.folder / "apps" / "blog.yml").unlink()
    (change,) = world.plan().apps
    assert (change.app, change.action, change.stack) == ("blog", "remove", None)
    assert "its data is kept" in change.changes[0].why
    assert world.plan("nothing").empty, "one app alone removes no other"


def test_leftovers_without_a_service_are_removed_too(world: World) -> None:
    world.items["secrets"].append(secret("old_pw", {"ronron.app": "old"}))
    assert [(change.app, change.action) for change in world.plan().apps] == [("old", "remove")]


def test_others_stacks_are_left_alone(world: World) -> None:
    foreign = service("theirs", "web")
    del foreign["Spec"]["Labels"]["ronron.app"]
    world.items["services"].append(foreign)
    world.items["secrets"].append(secret("theirs"))
    assert world.plan().empty


def test_a_missing_folder_is_made_again(world: World) -> None:
    world.folders.remove("/srv/ronron/volumes/blog/data")
    (change,) = world.plan().apps
    assert change.action == "repair"
    assert [volume.name for volume in change.volumes] == ["data"]
    assert fields(world.plan()) == [
        ("app blog", "volumes.data", None, "/srv/ronron/volumes/blog/data")
    ]


def test_a_deployed_app_that_lost_its_secrets_is_refused(world: World) -> None:
    world.vault.remove("blog")
    with pytest.raises(OperatorError) as caught:
        world.plan()
    assert "vault/blog.age: is missing, and blog runs with the secrets in it" in str(caught.value)
    assert "git" in caught.value.remedy


def test_a_new_secret_means_a_new_name_and_shows_no_value(world: World) -> None:
    secrets = world.vault.read("blog")
    world.vault.write("blog", secrets.set("db_password", Secret("a new one")))
    (change,) = world.plan().apps
    assert change.new_secrets == ()
    assert [item.field for item in change.changes] == ["secrets.db_password.name"]
    assert "a new one" not in shown(world.plan())


def shown(plan: Plan) -> str:
    """All that could be seen of a plan."""
    return repr(plan) + json.dumps([dataclasses.asdict(change) for change in plan.changes])


def test_passwords_among_the_variables_are_hidden(world: World) -> None:
    world.app("blog", "{recipe: page, parameters: {smtp_password: hunter2-hunter2}}")
    plan = world.plan()
    assert fields(plan) == [("app blog", "services.web.environment.SMTP_PASSWORD", "***", "***")]
    assert "hunter2" not in json.dumps([dataclasses.asdict(change) for change in plan.changes])
    world.by_hand(
        "blog_db",
        lambda s: s["TaskTemplate"]["ContainerSpec"]["Env"].append("DB=postgres://a:hunter2@b"),
    )
    drift = [change for change in world.plan().changes if change.why == "changed by hand"]
    assert [change.before for change in drift] == ["postgres://a:***@b"]


def test_every_fault_of_the_apps_is_told_at_once(world: World) -> None:
    world.app("blog", "{recipe: page, parameters: {titel: x}}")
    world.app("shop", "recipe: pgae")
    world.app("wiki", "stack: stacks/wiki.yml")
    (world.folder / "stacks").mkdir()
    (world.folder / "stacks" / "wiki.yml").write_bytes(b"services: \xff")
    with pytest.raises(SiteError) as caught:
        world.plan()
    told = sorted(str(problem) for problem in caught.value.problems)
    assert told == [
        "apps/blog.yml: parameters.titel: unknown parameter (page has: smtp_password, title)",
        "apps/shop.yml: recipe: there is no recipe pgae (did you mean page?)",
        "stacks/wiki.yml: is not text (save it as UTF-8)",
    ]


def test_a_server_that_does_not_answer_hides_no_other(world: World) -> None:
    world.failures["worker-1"] = ServerError("worker-1", "no answer")
    world.app("shop", "recipe: page")
    plan = world.plan()
    assert dict(plan.unreachable) == {"worker-1": "worker-1: no answer"}
    assert plan.failures == plan.unreachable
    assert [change.app for change in plan.apps] == ["shop"]
    assert plan.nodes == ()


@pytest.mark.parametrize("silent", ["stopped", "unreachable"])
def test_a_swarm_that_cannot_be_seen_hides_its_apps(world: World, silent: str) -> None:
    if silent == "unreachable":
        world.failures["master"] = ServerError("master", "no answer")
    loaded = world.loaded
    reality = dataclasses.replace(world.reality(), swarm=state.SwarmState())
    plan = make(loaded, reality, ProvisioningPlan(), Catalog(loaded.recipes), world.vault)
    assert (plan.apps, plan.network, plan.nodes) == ((), (), ())
    assert plan.failures["the swarm"] == "master does not answer for it: apps are not compared"
    assert ("master" in plan.failures) is (silent == "unreachable")


def test_servers_that_could_not_be_planned_for_are_failures_too() -> None:
    provisioning = ProvisioningPlan(failures=(ServerError("worker-2", "has no Python"),))
    plan = Plan(provisioning, unreachable={"worker-1": "worker-1: no answer"})
    assert plan.failures == {
        "worker-2": "worker-2: has no Python",
        "worker-1": "worker-1: no answer",
    }


def test_one_app_is_planned_alone(world: World) -> None:
    world.app("shop", "recipe: page")
    world.by_hand("blog_web", lambda spec: spec["Labels"].update(x="1"))
    world.items["nodes"].pop()
    plan = world.plan("shop")
    assert [change.app for change in plan.apps] == ["shop"]
    assert (plan.nodes, plan.network) == ((), ())


def test_a_bare_site_gets_everything_in_its_order(world: World) -> None:
    for items in world.items.values():
        items.clear()
    world.folders.clear()
    world.vault.remove("blog")
    loaded = world.loaded
    facts = {
        name: ServerFacts("inactive", "", False, "eth0", 1400, frozenset())
        for name in loaded.site.servers
    }
    plan = make(loaded, Reality(facts), ProvisioningPlan(), Catalog(loaded.recipes), world.vault)
    assert [change.action for change in plan.nodes if change.action != "label"] == [
        "init",
        "join",
        "join",
    ]
    (found,) = plan.network
    assert found.where == "network ronron_proxy"
    assert "subnet 10.90.0.0/16" in str(found.after)
    assert "mtu 1300" in str(found.after), "100 bytes less than the servers' link"
    assert [(change.app, change.action) for change in plan.apps] == [
        (name, "create") for name in (*PLATFORM, "blog")
    ]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("subnet: 10.91.0.0/16", "subnet is 10.90.0.0/16 in the swarm and 10.91.0.0/16 here"),
        ("encrypted: false", "encrypted is true in the swarm and false here"),
        ("mtu: 1300", "mtu is 1400 in the swarm and 1300 here"),
    ],
)
def test_the_proxys_network_cannot_be_changed_while_it_is_used(
    world: World, setting: str, said: str
) -> None:
    (world.folder / "ronron.yml").write_text(SITE + f"network: {{{setting}}}\n")
    with pytest.raises(OperatorError) as caught:
        world.plan()
    assert said in caught.value.message
    assert "change it back" in caught.value.remedy


def test_the_link_of_a_server_that_is_away_changes_nothing(world: World) -> None:
    slow = Reality(
        {"master": ServerFacts("active", "x", True, "eth0", 9000, frozenset())},
        {},
        world.reality().swarm,
    )
    assert slow.link_mtu == 1500, "that of the network, as it was made"


def test_a_plan_carries_what_is_deployed_and_no_secret(world: World) -> None:
    world.app("shop", "recipe: page")
    world.stacks()
    (change,) = world.plan().apps
    assert change.stack is not None
    value = world.vault.read("shop").values["db_password"].reveal()
    assert value == "shop db_password"
    assert value not in shown(world.plan())
    assert value not in change.stack.text
