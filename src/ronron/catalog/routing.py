"""The way to an app: its route in the proxy, its networks, and the names that they resolve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ronron.catalog.recipe import Web
from ronron.errors import Problem, SiteError
from ronron.site.models import Site

PROXY_NETWORK = "ronron_proxy"
PROXY_SERVICE = "proxy"
WEB_SERVICE = "web"
URL_LABEL = "ronron.url"
"""What answers when the app works, for those that watch it."""
MTU_OPTION = "com.docker.network.driver.mtu"

# Bytes that VXLAN adds to a packet, and at most what ESP in transport mode adds to that
# (RFC 7348; RFC 4303 with AES-GCM as Docker uses it, rounded up).
VXLAN_OVERHEAD = 50
ESP_OVERHEAD = 50


def overhead(encrypted: bool) -> int:
    """How many bytes of a packet an overlay network takes for itself."""
    return VXLAN_OVERHEAD + (ESP_OVERHEAD if encrypted else 0)


def overlay_options(site: Site, link_mtu: int = 1500, *, encrypted: bool = False) -> dict[str, str]:
    """Driver options of an overlay network; `link_mtu` is the servers' link's, in bytes.

    It is encrypted where the site's are, or with `encrypted`.
    """
    encrypted = encrypted or site.network.encrypted
    options = {MTU_OPTION: str(site.network.mtu or link_mtu - overhead(encrypted))}
    if encrypted:
        options["encrypted"] = "true"
    return options


def route(compose: dict[str, Any], app: str, web: Web, domain: str) -> None:
    """Put the web service on the proxy's network, and label it so that the proxy finds it."""
    body = compose["services"][web.service]
    body["networks"] = {**_attached(body), PROXY_NETWORK: None}
    labels = body["deploy"]["labels"]
    rule = f"traefik.http.routers.{app}.rule"
    # A plain stack file may have a narrower rule: some paths, some clients.
    labels |= {
        "traefik.enable": "true",
        URL_LABEL: f"https://{domain}{web.health}",
        rule: labels.get(rule) or f"Host(`{domain}`)",
        f"traefik.http.routers.{app}.entrypoints": "websecure",
        f"traefik.http.routers.{app}.tls.certresolver": "acme",
        f"traefik.http.routers.{app}.service": app,
        f"traefik.http.services.{app}.loadbalancer.server.port": str(web.port),
    } | _middlewares(app, labels)


def _middlewares(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Try another replica when one refuses the connection, as one that just stopped does."""
    router = f"traefik.http.routers.{name}.middlewares"
    others = [labels[router]] if labels.get(router) else []
    return {
        f"traefik.http.middlewares.{name}-retry.retry.attempts": "3",
        f"traefik.http.middlewares.{name}-retry.retry.initialinterval": "50ms",
        router: ",".join([*others, f"{name}-retry"]),
    }


def settle_names(compose: dict[str, Any], app: str, web: Web | None) -> None:
    """Keep the names that all apps see on the proxy's network apart from those inside of an app.

    Swarm makes a service's name an alias on each of its networks. Were an app's web service called
    `db`, another app could take it for its own database. So the service that answers the domain is
    always `web`, others on the proxy's network `web.NAME`; on the app's own networks they keep the
    names that they had. Raises SiteError for a name that would be ambiguous.
    """
    services = compose["services"]
    public = [name for name in services if PROXY_NETWORK in _attached(services[name])]
    settled: dict[str, Any] = {}
    for name, body in services.items():
        main = web is not None and name == web.service
        new = (WEB_SERVICE if main else f"{WEB_SERVICE}.{name}") if name in public else name
        taken = new in settled or (new != name and new in services)
        if taken or (name not in public and name in (PROXY_SERVICE, WEB_SERVICE)):
            text = f"inside of an app no service but the one that answers may be called {new}"
            remedy = "rename the service, and what refers to it"
            raise SiteError([Problem(f"apps/{app}.yml", f"services.{name}", text, remedy)])
        if new != name:
            body["networks"] = {
                network: options if network == PROXY_NETWORK else _with_alias(options, name)
                for network, options in _attached(body).items()
            }
        settled[new] = body
    compose["services"] = settled


def networks(
    compose: dict[str, Any], site: Site, link_mtu: int, *, encrypted: bool = False
) -> None:
    """Declare the networks that the services are on: the proxy's, and the app's own overlays,
    which are `encrypted` also where the site's are not."""
    used = {name for body in compose["services"].values() for name in _attached(body)}
    declared = compose.get("networks") or {}
    compose["networks"] = found = {}
    for name in sorted(used | set(declared)):
        body = declared.get(name) or {}
        if name == PROXY_NETWORK or body.get("name") == PROXY_NETWORK:
            found[name] = {"external": True, "name": PROXY_NETWORK}
        elif body.get("external"):
            found[name] = body
        else:
            common = overlay_options(site, link_mtu, encrypted=encrypted)
            options = {**common, **(body.get("driver_opts") or {})}
            found[name] = {**body, "driver": "overlay", "driver_opts": options}


def _attached(body: Mapping[str, Any]) -> dict[str, Any]:
    """The networks of a service with their options: Compose allows a list, a mapping, or none."""
    attached = body.get("networks") or ["default"]
    return dict(attached) if isinstance(attached, Mapping) else dict.fromkeys(attached)


def _with_alias(options: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - as YAML held it
    options = options or {}
    return {**options, "aliases": [*(options.get("aliases") or ()), name]}
