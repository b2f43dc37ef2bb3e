"""Scaleway: one security group for each server, through Scaleway's own library.

The key comes from that library's configuration (SCW_ACCESS_KEY, SCW_SECRET_KEY,
SCW_DEFAULT_PROJECT_ID, SCW_DEFAULT_ZONE, or its file) and is never kept. An instance is a server of
the site's when its name is the server's, or one of its public addresses is.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ronron.errors import OperatorError, RonronError
from ronron.provider.rules import Change, Group, Rule, changes, wanted
from ronron.servers.names import lookup
from ronron.site.models import App, Server, Site
from ronron.site.security import declared_ports

_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "ICMP": "icmp", "ANY": "any"}


@dataclass(frozen=True)
class Instance:
    """An instance at Scaleway that is a server of the site."""

    server: str
    id: str
    group: str


@dataclass(frozen=True)
class Plan:
    """What would change; by server its instance, its group, and the rules that it should have."""

    changes: tuple[Change, ...]
    instances: Mapping[str, Instance]
    groups: Mapping[str, Group]
    rules: Mapping[str, Mapping[Rule, str]]


def client() -> Any:  # noqa: ANN401 - the library's
    """Scaleway's API as the library's configuration says. Raises OperatorError without one."""
    if importlib.util.find_spec("scaleway") is None:
        raise OperatorError(
            "Scaleway's library is not installed", remedy="pip install 'ronron[scaleway]'"
        )
    from scaleway import Client
    from scaleway.instance.v1 import InstanceV1API

    # It warns of a file that need not be there.
    logging.getLogger("scaleway").setLevel(logging.ERROR)
    try:
        found = Client.from_config_file_and_env()
        found.validate()
    except (ValueError, OSError) as error:
        raise OperatorError(
            f"Scaleway's configuration: {str(error).partition('. See')[0]}",
            remedy="set SCW_ACCESS_KEY, SCW_SECRET_KEY, SCW_DEFAULT_PROJECT_ID, SCW_DEFAULT_ZONE",
        ) from None
    for name, value in (
        ("SCW_DEFAULT_ZONE", found.default_zone),
        ("SCW_DEFAULT_PROJECT_ID", found.default_project_id),
    ):
        if not value:
            raise OperatorError("Scaleway's configuration is not complete", remedy=f"set {name}")
    return InstanceV1API(found)


def plan(api: Any, site: Site, apps: Mapping[str, App]) -> Plan:  # noqa: ANN401
    """Compare the site's declared ports with what is at Scaleway.

    Raises OperatorError when a server is no instance there, RonronError when Scaleway fails.
    """
    addresses = {one.name: lookup(one.address, site.resolver) for one in site.servers.values()}
    with _translated():
        project = api.client.default_project_id
        instances = _instances(api.list_servers_all(project=project), site, addresses)
        missing = sorted(set(site.servers) - set(instances))
        if missing:
            raise OperatorError(
                f"{', '.join(missing)}: no instance of that name or address in "
                f"{api.client.default_zone}",
                remedy="check the zone and the project, or name the instance as the server",
            )
        there = {one.name: one for one in api.list_security_groups_all(project=project)}
        groups = {
            name: _group(api, there.get(group_name(site, name)), instance)
            for name, instance in instances.items()
        }
    declared = declared_ports(site, apps)
    rules = {name: wanted(declared[name], addresses) for name in site.servers}
    found = [one for name in site.servers for one in changes(name, groups[name], rules[name])]
    return Plan(tuple(found), instances, groups, rules)


def apply(api: Any, site: Site, made: Plan) -> None:  # noqa: ANN401
    """Carry `made` out. It can be repeated: what an interrupted one left is done by the next.

    Raises RonronError when Scaleway fails.
    """
    with _translated():
        for name in dict.fromkeys(one.server for one in made.changes):
            _bring(api, site, made.instances[name], made.groups[name], made.rules[name])


def group_name(site: Site, server: str) -> str:
    """The name of a server's security group."""
    return f"ronron-{site.name}-{server}"


def _instances(
    found: Iterable[Any], site: Site, addresses: Mapping[str, str]
) -> dict[str, Instance]:
    servers = {}
    for one in found:
        public = {str(ip.address) for ip in one.public_ips or ()}
        for server in site.servers.values():
            if _is(server, one.name) or addresses[server.name] in public:
                group = one.security_group.id if one.security_group else ""
                servers[server.name] = Instance(server.name, one.id, group)
    return servers


def _is(server: Server, instance: str) -> bool:
    return instance in (server.name, server.address)


def _group(api: Any, there: Any, instance: Instance) -> Group:  # noqa: ANN401
    if there is None:
        return Group()
    rules = frozenset(
        Rule(
            _PROTOCOLS[str(rule.protocol)],  # type: ignore[arg-type] # the four kinds of a Rule
            rule.dest_port_from or 0,
            rule.dest_port_to or rule.dest_port_from or 0,
            rule.ip_range,
        )
        for rule in api.list_security_group_rules_all(security_group_id=there.id)
        if rule.editable and str(rule.direction) == "inbound" and str(rule.action) == "accept"
    )
    drops = str(there.inbound_default_policy) == "drop" and there.stateful
    return Group(rules, drops, instance.group == there.id, there.id)


def _bring(
    api: Any,  # noqa: ANN401
    site: Site,
    instance: Instance,
    there: Group,
    rules: Mapping[Rule, str],
) -> None:
    name = group_name(site, instance.server)
    group = there.id
    if not group:
        made = api.create_security_group(
            name=name,
            description=f"Written by ronron for {instance.server} of {site.name}",
            stateful=True,
            project=api.client.default_project_id,
            tags=["ronron", f"ronron-site={site.name}"],
            inbound_default_policy="drop",
            outbound_default_policy="accept",
        )
        group = made.security_group.id
    if set(rules) != there.rules:
        api.set_security_group_rules(security_group_id=group, rules=list(_requests(rules)))
    if there.id and not there.drops:
        api.update_security_group(
            security_group_id=group, inbound_default_policy="drop", stateful=True
        )
    if not there.attached:
        from scaleway.instance.v1.types import SecurityGroupTemplate

        template = SecurityGroupTemplate(id=group, name=name)
        api._update_server(server_id=instance.id, security_group=template)


def _requests(rules: Iterable[Rule]) -> Iterator[Any]:
    from scaleway.instance.v1.types import SetSecurityGroupRulesRequestRule

    for position, rule in enumerate(sorted(rules), 1):
        ports = rule.protocol in ("tcp", "udp")
        yield SetSecurityGroupRulesRequestRule(
            action="accept",
            protocol=rule.protocol.upper(),
            direction="inbound",
            ip_range=rule.network,
            position=position,
            dest_port_from=rule.first if ports else None,
            dest_port_to=rule.last if ports and rule.last != rule.first else None,
            editable=True,
        )


@contextmanager
def _translated() -> Iterator[None]:
    """Scaleway's errors as ronron's own: what it said, without the request that had the key."""
    from requests import RequestException
    from scaleway_core.api import ScalewayException

    try:
        yield
    except ScalewayException as error:
        said = _said(error)
        refused = error.status_code in (401, 403)
        remedy = "check the key and its permissions" if refused else ""
        raise RonronError(f"Scaleway: {said}", remedy=remedy) from None
    except RequestException as error:
        raise RonronError(f"Scaleway cannot be reached: {type(error).__name__}") from None


def _said(error: Any) -> str:  # noqa: ANN401 - the library's
    """What Scaleway said was wrong."""
    try:
        return str(error.response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.status_code}"
