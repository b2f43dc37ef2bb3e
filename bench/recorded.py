"""Makes a site of many apps and the recording of a swarm that runs them, but for a few.

`recorded.py FOLDER COUNT` writes `FOLDER/site` and `FOLDER/swarm/*.jsonl`: one object a line, as
the Engine API lists nodes, services, configs, secrets and networks.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ronron.catalog.recipe import Catalog
from ronron.catalog.routing import PROXY_NETWORK, overlay_options
from ronron.catalog.stack import PLATFORM, Stack
from ronron.plan import platform
from ronron.plan.make import recipe_of, rendered
from ronron.servers.names import is_address
from ronron.site.create import init_site
from ronron.site.load import LoadedSite, load_site
from ronron.site.models import App
from ronron.site.vault import Secrets, Vault, generate
from ronron.swarm import certificates, record, spec
from ronron.swarm.nodes import labels_of

RECIPE = Path(__file__).resolve().parent / "press"
FEW = 5
"""How many apps are new, changed, changed by hand, and no longer declared: that many of each."""

CHANGES = 4 * FEW
"""How many apps a plan for the site touches."""

SERVERS = {
    "master": {"address": "master.example.net", "roles": ["manager", "storage"]},
    "worker-1": {"address": "worker-1.example.net"},
    "worker-2": {"address": "worker-2.example.net"},
}
Item = dict[str, Any]


def write(folder: Path, count: int) -> None:
    """Write a site of `count` apps to `folder`, and the recording of its swarm."""
    site = folder / "site"
    key = folder / "site.key"
    init_site(site, name="many", domain="example.org", contact="admin@example.org", key=key)
    site_file = site / "ronron.yml"
    content = {"name": "many", "domain": "example.org", "contact": "admin@example.org"}
    site_file.write_text(yaml.safe_dump({**content, "servers": SERVERS}))
    shutil.copytree(RECIPE, site / "recipes" / RECIPE.name)
    names = [f"app-{number:05d}" for number in range(count + FEW)]
    for number, name in enumerate(names):
        write_app(site, name, declaration(number))
    loaded = load_site(site)
    vault = Vault(site, key)
    vault.write(certificates.VAULT_NAME, certificates.registry_certificates())
    new, changed, by_hand = (set(names[i * FEW : (i + 1) * FEW]) for i in range(3))
    removed = set(names[-FEW:])
    record_swarm(folder / "swarm", loaded, vault, without=new, by_hand=by_hand)
    for name in sorted(changed):
        app = loaded.apps[name]
        title = f"{app.parameters['title']}, again"
        write_app(site, name, {"recipe": RECIPE.name, "parameters": {"title": title}})
    for name in removed:
        (site / "apps" / f"{name}.yml").unlink()


def declaration(number: int) -> Item:
    """What the file of one app says: some say more than others."""
    content: Item = {"recipe": RECIPE.name, "parameters": {"title": f"The paper no. {number}"}}
    if number % 2:
        content["domain"] = f"paper-{number}.example.net"
        content["parameters"] |= {"language": "fr", "mail_host": "mail.example.net"}
    if number % 5 == 0:
        content["limits"] = {"web": {"memory": "1G", "cpus": "2.0"}}
    if number % 7 == 0:
        content["replicas"] = {"cache": 2}
    return content


def write_app(site: Path, name: str, content: Item) -> None:
    """Write an app's file."""
    (site / "apps").mkdir(exist_ok=True)
    (site / "apps" / f"{name}.yml").write_text(yaml.safe_dump(content, sort_keys=False))


def record_swarm(
    folder: Path, loaded: LoadedSite, vault: Vault, *, without: set[str], by_hand: set[str]
) -> None:
    """Write the lists of a swarm that runs the site's apps, but for those `without`."""
    folder.mkdir()
    catalog = Catalog(loaded.recipes)
    folders: list[str] = []
    declared = {**platform.apps(loaded), **loaded.apps}
    with (
        (folder / "services.jsonl").open("w") as services,
        (folder / "configs.jsonl").open("w") as configs,
        (folder / "secrets.jsonl").open("w") as secrets,
    ):
        for number, app in enumerate(declared.values()):
            if app.name in without:
                continue
            recipe = recipe_of(app, loaded, catalog)
            known = secrets_of(app, list(recipe.extension.secrets), vault)
            stack, _ = rendered(app, recipe, loaded.site, known, 1500)
            folders += [volume.path for volume in stack.volumes]
            write_lines(services, service_items(stack, app.name in by_hand))
            write_lines(configs, config_items(app, stack, 1 + number % record.KEPT))
            write_lines(secrets, secret_items(stack))
    with (folder / "nodes.jsonl").open("w") as nodes:
        write_lines(nodes, node_items(loaded))
    with (folder / "networks.jsonl").open("w") as networks:
        write_lines(networks, network_items(loaded, declared))
    (folder / "facts.json").write_text(json.dumps(facts(loaded, folders)))


def write_lines(file: Any, items: Iterable[Item]) -> None:  # noqa: ANN401 - a text file
    """Write each item as a line of JSON."""
    for item in items:
        file.write(json.dumps(item) + "\n")


def secrets_of(app: App, names: list[str], vault: Vault) -> Secrets | None:
    """The app's secrets; they are made when it has none."""
    if names and not vault.exists(app.name):
        vault.write(app.name, Secrets({name: generate() for name in names}))
    return vault.read(app.name) if names else None


def service_items(stack: Stack, by_hand: bool) -> Iterable[Item]:
    """The stack's services as the Engine API lists them; `by_hand` adds a variable to the web's."""
    for name, body in stack.compose["services"].items():
        details = service_spec(stack, name, body)
        item = {
            "ID": f"{stack.app}{name}".ljust(25, "x")[:25],
            "Version": {"Index": 1000},
            "CreatedAt": "2026-11-20T10:00:00.000000000Z",
            "UpdatedAt": "2026-11-20T10:00:00.000000000Z",
            "Spec": details,
            "PreviousSpec": details,
            "Endpoint": {"Spec": {"Mode": "dnsrr"}},
        }
        if by_hand and name == "web":
            container = details["TaskTemplate"]["ContainerSpec"]
            task = {**details["TaskTemplate"]}
            task["ContainerSpec"] = {**container, "Env": [*container["Env"], "X=1"]}
            item["Spec"] = {**details, "TaskTemplate": task}
        yield item


def service_spec(stack: Stack, name: str, body: Mapping[str, Any]) -> Item:
    """What Swarm makes of a Compose service: the shape and size count here, not every field."""
    deploy = body["deploy"]
    labels = {
        "com.docker.stack.image": body["image"],
        "com.docker.stack.namespace": stack.app,
        **deploy["labels"],
    }
    container: Item = {
        "Image": body["image"],
        "Labels": {"com.docker.stack.namespace": stack.app},
        "Env": [f"{key}={value}" for key, value in (body.get("environment") or {}).items()],
        "Args": body.get("command"),
        "User": body.get("user", ""),
        "Privileges": {"CredentialSpec": None, "SELinuxContext": None},
        "ReadOnly": body.get("read_only", False),
        "StopGracePeriod": 30_000_000_000,
        "Healthcheck": {
            "Test": (body.get("healthcheck") or {}).get("test"),
            "Interval": 10_000_000_000,
            "Timeout": 5_000_000_000,
            "Retries": 4,
        },
        "Mounts": [
            {
                "Type": "volume",
                "Source": f"{stack.app}_{number}",
                "Target": f"/mount/{number}",
                "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local"}},
            }
            for number, _ in enumerate(body.get("volumes") or ())
        ],
        "Hosts": [],
        "DNSConfig": {},
        "Secrets": [reference("Secret", item) for item in stack.secrets.values()],
        "Configs": [reference("Config", item) for item in stack.configs],
        "Isolation": "default",
        "CapabilityDrop": ["CAP_ALL"],
    }
    update = {"Parallelism": 1, "FailureAction": "rollback", "Monitor": 10_000_000_000}
    update |= {"MaxFailureRatio": 0, "Order": "stop-first"}
    return {
        "Name": f"{stack.app}_{name}",
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": {
                "Limits": {"MemoryBytes": 536870912, "NanoCPUs": 1_000_000_000},
                "Reservations": {"MemoryBytes": 134217728},
            },
            "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0},
            "Placement": {"Constraints": (deploy.get("placement") or {}).get("constraints", [])},
            "Networks": [
                {"Target": f"{stack.app}{network}".ljust(25, "n"), "Aliases": [name]}
                for network in body.get("networks") or ["default"]
            ],
            "ForceUpdate": 0,
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": deploy.get("replicas", 1)}},
        "UpdateConfig": update,
        "RollbackConfig": update,
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def reference(kind: str, name: str) -> Item:
    """A secret or config as a service's specification names it."""
    file = {"Name": name, "UID": "0", "GID": "0", "Mode": 292}
    return {"File": file, f"{kind}ID": name.ljust(25, "s")[:25], f"{kind}Name": name}


def config_items(app: App, stack: Stack, revisions: int) -> Iterable[Item]:
    """The stack's own configs, and the records of its `revisions`, as the Engine API lists them."""
    for name, config in stack.configs.items():
        yield config_item(name, {"ronron.app": app.name}, config.content)
    specs = {
        item["Spec"]["Name"].removeprefix(f"{app.name}_"): spec.canonical(item["Spec"])
        for item in service_items(stack, by_hand=False)
    }
    about = {
        "app": app.model_dump(mode="json", exclude_defaults=True),
        "recipe": stack.recipe,
        "recipe_digest": stack.recipe_digest,
        "domain": stack.domain,
        "health": stack.health,
        "images": {image.service: image.upstream for image in stack.images},
        "by": "admin@desk",
        "at": "2026-11-20T10:00:00+00:00",
    }
    for revision in range(1, revisions + 1):
        # Only the newest is compared with anything.
        made = record.make(
            app.name,
            revision,
            stack=stack.text,
            stack_digest=stack.digest if revision == revisions else f"{revision:012d}",
            specs=specs,
            about=about,
        )
        yield config_item(made.name, made.labels, made.data)


def config_item(name: str, labels: Mapping[str, str], content: bytes) -> Item:
    """A Docker config."""
    data = base64.b64encode(content).decode()
    return {
        "ID": name.ljust(25, "c")[:25],
        "Version": {"Index": 1000},
        "CreatedAt": "2026-11-20T10:00:00.000000000Z",
        "UpdatedAt": "2026-11-20T10:00:00.000000000Z",
        "Spec": {"Name": name, "Labels": dict(labels), "Data": data},
    }


def secret_items(stack: Stack) -> Iterable[Item]:
    """The stack's Docker secrets: the API never tells their content."""
    for name in stack.secrets.values():
        yield {
            "ID": name.ljust(25, "s")[:25],
            "Version": {"Index": 1000},
            "CreatedAt": "2026-11-20T10:00:00.000000000Z",
            "UpdatedAt": "2026-11-20T10:00:00.000000000Z",
            "Spec": {"Name": name, "Labels": {"ronron.app": stack.app}},
        }


def node_items(loaded: LoadedSite) -> Iterable[Item]:
    """The swarm's nodes, all of them ready."""
    for server in loaded.site.servers.values():
        assert not is_address(server.address)
        role = "manager" if server.is_manager else "worker"
        yield {
            "ID": f"node{server.name}".ljust(25, "n"),
            "Version": {"Index": 10},
            "Spec": {
                "Labels": labels_of(server, loaded.site),
                "Role": role,
                "Availability": "active",
            },
            "Description": {"Hostname": server.name, "Resources": {"NanoCPUs": 4_000_000_000}},
            "Status": {"State": "ready", "Addr": "192.0.2.1"},
            **({"ManagerStatus": {"Leader": True}} if server.is_manager else {}),
        }


def network_items(loaded: LoadedSite, apps: Iterable[str]) -> Iterable[Item]:
    """The proxy's network, and one of each app's own."""
    ipam = {"Driver": "default", "Config": [{"Subnet": loaded.site.network.subnet}]}
    options = overlay_options(loaded.site)
    yield {"Name": PROXY_NETWORK, "Id": "proxy", "IPAM": ipam, "Options": options, "Labels": {}}
    for number, app in enumerate(apps):
        if app in PLATFORM:
            continue
        subnet = f"10.{192 + number // 65536}.{number // 256 % 256}.{number % 256}/32"
        yield {
            "Name": f"{app}_inside",
            "Id": f"{app}inside".ljust(25, "n"),
            "Created": "2026-11-20T10:00:00.000000000Z",
            "Scope": "swarm",
            "Driver": "overlay",
            "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
            "Options": options,
            "Labels": {"com.docker.stack.namespace": app},
        }


def facts(loaded: LoadedSite, folders: list[str]) -> dict[str, Item]:
    """What each server says of itself: the first has all volumes."""
    return {
        server.name: {
            "swarm": {
                "LocalNodeState": "active",
                "NodeID": f"node{server.name}".ljust(25, "n"),
                "ControlAvailable": server.is_manager,
            },
            "interface": "eth0",
            "mtu": 1500,
            "folders": folders if server.is_manager else [],
        }
        for server in loaded.site.servers.values()
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
