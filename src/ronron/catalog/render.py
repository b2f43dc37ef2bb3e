"""From a recipe and an app to the Compose stack that the swarm gets, and what it needs first.

Rendering is pure: the same recipe, app and site give the same stack. What the swarm must hold
before the stack can be deployed (configs, secrets, images, folders of volumes) is listed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ronron.catalog import alerting, guards, mail, retention, routing, sockets
from ronron.catalog.ports import on_server
from ronron.catalog.recipe import Recipe, image_folder
from ronron.catalog.recipe import Volume as VolumeRule
from ronron.catalog.stack import PLATFORM, REGISTRY, Config, Image, Stack, Volume
from ronron.digest import short_digest
from ronron.errors import Problem, SiteError
from ronron.site.models import App, Site
from ronron.site.userns import SOCKET

DOCKER_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")


def domain_of(app: App, recipe: Recipe, site: Site) -> str | None:
    """The domain that the app answers on; None for an app without a web service."""
    if recipe.extension.web is None:
        return None
    return app.domain or f"{app.name}.{site.domain}"


def parameters(app: App, recipe: Recipe, site: Site) -> dict[str, str]:
    """The app's parameters with the site's and the recipe's defaults, as interpolation wants them.

    Raises SiteError with every parameter that is missing, unknown or wrong.
    """
    declared = recipe.extension.parameters
    file, problems, values = f"apps/{app.name}.yml", [], {}
    common = mail.defaults(app, recipe, site) | alerting.defaults(recipe, site)
    common |= retention.defaults(recipe, site)
    for name, rule in declared.items():
        value = app.parameters.get(name, common.get(name, rule.default))
        if value is None or value == "":
            if rule.required:
                remedy = f"add it, or deploy with --set {name}=…"
                about = f" ({rule.about})" if rule.about else ""
                problems.append(Problem(file, f"parameters.{name}", f"missing{about}", remedy))
            value = "" if value is None else value
        elif wrong := rule.check(value):
            problems.append(Problem(file, f"parameters.{name}", wrong))
        values[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for name in app.parameters:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            remedy = f"{recipe.name} has: {known}"
            problems.append(Problem(file, f"parameters.{name}", "unknown parameter", remedy))
    for section in ("limits", "replicas", "images"):
        for service in getattr(app, section):
            if service not in recipe.services:
                remedy = f"{recipe.name} has: {', '.join(recipe.services)}"
                problems.append(Problem(file, f"{section}.{service}", "unknown service", remedy))
    problems += guards.check(app, recipe)
    volumes = recipe.stack.get("volumes") or {}
    for volume in app.volumes:
        if volume not in volumes:
            remedy = f"{recipe.name} has: {', '.join(volumes) or 'none'}"
            problems.append(Problem(file, f"volumes.{volume}", "unknown volume", remedy))
    if problems:
        raise SiteError(problems)
    return values


def render(
    app: App,
    recipe: Recipe,
    site: Site,
    secrets: Mapping[str, str],
    link_mtu: int = 1500,
    users: Mapping[str, str] = MappingProxyType({}),
) -> Stack:
    """Render `app` for `site`.

    `secrets` maps each of the recipe's secrets to the name of its Docker secret, `users` those who
    log in at the proxy to the hashes of their passwords. Raises SiteError when the app's parameters
    do not fit the recipe, or a container has Docker's socket for no reason.
    """
    domain = domain_of(app, recipe, site)
    values = parameters(app, recipe, site)
    values |= {
        "app": app.name,
        "domain": domain or "",
        "site_name": site.name,
        "site_domain": site.domain,
        "contact": site.contact,
    }
    compose: dict[str, Any] = recipe.template.render(values)
    compose.pop("name", None)
    if mail.takes_account(recipe) and not mail.has_account(app, recipe, site):
        _without(compose, mail.PASSWORD)
    for name, rule in recipe.extension.secrets.items():
        if rule.optional and name not in secrets:
            _without(compose, name)
    images = tuple(_image(app, recipe, name, body) for name, body in compose["services"].items())
    _no_socket(compose, recipe)
    if site.docker.userns_remap:
        _own_socket(compose)
    volumes = _volumes(app, recipe, compose, site)
    _one_writer(app, volumes)
    for image in images:
        _service(compose["services"][image.service], app, recipe, image, volumes)
    if recipe.extension.web is not None and domain is not None:
        routing.route(compose, app.name, recipe.extension.web, domain)
        guards.apply(compose["services"], app, recipe.extension.web, domain, users)
    if app.name not in PLATFORM:
        routing.settle_names(compose, app.name, recipe.extension.web)
    routing.networks(compose, site, link_mtu, encrypted=app.encrypted)
    configs = _configs(compose, app, recipe)
    wanted = {name: secrets[name] for name in compose.get("secrets") or {} if name in secrets}
    for name, reference in wanted.items():
        compose["secrets"][name] = {"external": True, "name": reference}
    health = recipe.extension.web.health if recipe.extension.web else "/"
    return Stack(
        app.name, recipe.name, recipe.digest, domain, health, compose, configs, wanted,
        (*images, *_tools(app, recipe)), volumes, guards.refusals(app, recipe.extension.web),
    )  # fmt: skip


def _image(app: App, recipe: Recipe, service: str, body: dict[str, Any]) -> Image:
    upstream = str(app.images.get(service) or body["image"])
    build = body.pop("build", None)
    context = build.get("context", ".") if isinstance(build, dict) else build
    overridden = service in app.images and upstream != body["image"]
    if context is not None and not overridden:
        folder: Path | None = (recipe.folder / str(context)).resolve()
    else:
        folder = image_folder(upstream)
    name, _, digest = upstream.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    digest = short_digest(digest.encode()) if digest else recipe.folder_digest(folder)
    suffix = f"-{digest}" if digest else ""
    repository = repository.replace(":", "-")  # of a registry's port: there is one in REGISTRY
    return Image(service, upstream, f"{REGISTRY}/{repository}:{tag}{suffix}", folder)


def _tools(app: App, recipe: Recipe) -> tuple[Image, ...]:
    named = dict.fromkeys(one.image for one in recipe.extension.databases.values() if one.image)
    return tuple(_image(app, recipe, "", {"image": name}) for name in named)


def _volumes(app: App, recipe: Recipe, compose: dict[str, Any], site: Site) -> tuple[Volume, ...]:
    users: dict[str, list[str]] = {name: [] for name in compose.get("volumes") or {}}
    for service, body in compose["services"].items():
        for index, mount in enumerate(body.get("volumes") or ()):
            source = mount.get("source") if isinstance(mount, dict) else mount.split(":", 1)[0]
            if source in users:
                users[source].append(service)
            rule = recipe.extension.volumes.get(source or "")
            if rule is not None and "uid" in rule.model_fields_set:
                body["volumes"][index] = _without_copy(mount)
    found = []
    for name, services in users.items():
        rule = recipe.extension.volumes.get(name) or VolumeRule()
        quota = app.volumes[name].bytes if name in app.volumes else 0
        owner = (rule.uid, rule.gid, rule.mode)
        # The platform's own stay on the manager: it starts before what they would be shared by.
        shared = site.storage.is_shared and rule.kind == "files" and app.name not in PLATFORM
        volume = Volume(
            app.name, name, rule.kind, *owner, tuple(services), shared, quota, site.docker.first_id
        )
        found.append(volume)
        compose["volumes"][name] = {
            "name": f"{app.name}_{name}",
            "driver": "local",
            "driver_opts": {"type": "none", "o": "bind", "device": volume.path},
            "labels": {"ronron.app": app.name},
        }
    return tuple(found)


def _one_writer(app: App, volumes: tuple[Volume, ...]) -> None:
    """Two tasks on one database's files would destroy them: refuse what the app's file asks."""
    problems = [
        Problem(
            f"apps/{app.name}.yml",
            f"replicas.{service}",
            f"{app.replicas[service]} tasks would write the database volume {volume.name} at once",
            "a service with a database volume runs once",
        )
        for volume in volumes
        for service in volume.services
        if volume.kind == "database" and app.replicas.get(service, 0) > 1
    ]
    if problems:
        raise SiteError(problems)


def _no_socket(compose: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse a container that commands every server, unless its recipe says why it must."""
    if recipe.extension.docker_socket.strip():
        return
    remedy = "remove it, or give the reason in x-ronron.docker_socket"
    problems = [
        Problem(
            f"recipes/{recipe.name}/stack.yml",
            f"services.{service}.volumes[{index}]",
            f"with {source} {service} has the Docker socket, and commands every server",
            remedy,
        )
        for service, body in compose["services"].items()
        for index, mount in enumerate(body.get("volumes") or ())
        if sockets.is_reached(source := _mounted(mount))
    ]
    if problems:
        raise SiteError(problems)


def _mounted(mount: Any) -> str:  # noqa: ANN401 - Compose allows two types
    """What a mount takes, a volume's name or a path; empty where it takes nothing."""
    if isinstance(mount, dict):
        return str(mount.get("source") or mount.get("src") or "")
    source, colon, _ = str(mount).partition(":")
    return source if colon else ""


def _own_socket(compose: dict[str, Any]) -> None:
    """Give the containers that have Docker's socket the one that their root can use."""
    for body in compose["services"].values():
        for index, mount in enumerate(body.get("volumes") or ()):
            if isinstance(mount, dict) and mount.get("source") in DOCKER_SOCKETS:
                body["volumes"][index] = {**mount, "source": SOCKET}
            elif isinstance(mount, str) and mount.partition(":")[0] in DOCKER_SOCKETS:
                body["volumes"][index] = f"{SOCKET}:{mount.partition(':')[2]}"


def _without_copy(mount: Any) -> dict[str, Any]:  # noqa: ANN401 - Compose allows two types
    """The mount in its long form. Docker would give an empty volume the content and the owner that
    its folder has in the image, instead of the owner that the recipe says."""
    if isinstance(mount, dict):
        return {**mount, "volume": {**(mount.get("volume") or {}), "nocopy": True}}
    source, target, *options = mount.split(":")
    long: dict[str, Any] = {"type": "volume", "source": source, "target": target}
    if "ro" in options:
        long["read_only"] = True
    return {**long, "volume": {"nocopy": True}}


def _service(
    body: dict[str, Any], app: App, recipe: Recipe, image: Image, volumes: tuple[Volume, ...]
) -> None:
    body["image"] = image.reference
    deploy: dict[str, Any] = body.setdefault("deploy", {})
    deploy["labels"] = {
        **_mapping(deploy.get("labels")),
        "ronron.app": app.name,
        "ronron.recipe": recipe.name,
        "ronron.digest": recipe.digest,
    }
    stays = deploy.get("mode", "replicated") in ("replicated", "global")
    if stays:
        deploy["endpoint_mode"] = "dnsrr"
    mine = [volume for volume in volumes if image.service in volume.services]
    constraints = deploy.setdefault("placement", {}).setdefault("constraints", [])
    for label in sorted({volume.label for volume in mine if not volume.shared}):
        if (wanted := f"node.labels.{label} == true") not in constraints:
            constraints.append(wanted)
    if not constraints:
        del deploy["placement"]["constraints"]
    order = "stop-first" if mine else "start-first"
    if stays:
        deploy["update_config"] = {
            "order": order,
            "failure_action": "rollback",
            **(deploy.get("update_config") or {}),
        }
        deploy["rollback_config"] = {"order": order, **(deploy.get("rollback_config") or {})}
    if image.service in app.replicas:
        deploy["replicas"] = app.replicas[image.service]
    if limits := app.limits.get(image.service):
        wanted = deploy.setdefault("resources", {}).setdefault("limits", {})
        # A reservation above the limit would be refused.
        for key, value in limits.model_dump(exclude_none=True).items():
            wanted[key] = value
            deploy["resources"].get("reservations", {}).pop(key, None)
    if ports := body.pop("ports", None):
        body["ports"] = on_server(ports, recipe, f"services.{image.service}.ports")


def _without(compose: dict[str, Any], secret: str) -> None:
    """Take a secret without a value out of a stack: Docker has none of these."""
    compose.get("secrets", {}).pop(secret, None)
    for body in compose["services"].values():
        if "secrets" in body:
            body["secrets"] = [item for item in body["secrets"] if _source(item) != secret]


def _source(item: Any) -> object:  # noqa: ANN401 - Compose allows two types
    return item.get("source") if isinstance(item, dict) else item


def _configs(compose: dict[str, Any], app: App, recipe: Recipe) -> dict[str, Config]:
    contents: dict[str, Config] = {}
    for name, body in (compose.get("configs") or {}).items():
        if "content" in body:
            content = str(body["content"]).encode()
        elif "file" in body:
            content = _file(recipe, name, str(body["file"]))
        else:
            continue
        config = Config(content, str(body.get("template_driver", "")))
        digest = short_digest(config.template.encode() + b"\0" + content)
        reference = f"{app.name}_{name}_{digest}"
        contents[reference] = config
        compose["configs"][name] = {"external": True, "name": reference}
    return contents


def _file(recipe: Recipe, config: str, name: str) -> bytes:
    try:
        return (recipe.folder / name).read_bytes()
    except OSError as error:
        place, file = f"configs.{config}.file", f"recipes/{recipe.name}/stack.yml"
        text = f"{name} cannot be read: {error.strerror}"
        raise SiteError([Problem(file, place, text, "add the file")]) from error


def _mapping(labels: Any) -> dict[str, str]:  # noqa: ANN401 - Compose allows lists and maps
    if isinstance(labels, list):
        return {key: value for key, _, value in (str(label).partition("=") for label in labels)}
    return {key: "" if value is None else str(value) for key, value in (labels or {}).items()}
