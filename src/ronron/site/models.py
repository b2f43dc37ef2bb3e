"""What the site's files say, as frozen models: `ronron.yml` is a Site, `apps/NAME.yml` an App.

Every rule that one file can break by itself is checked here, with a remedy; what needs other
files is checked by `site.load`, what needs the recipe by `catalog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ronron.errors import OperatorError
from ronron.site import values
from ronron.site.alerts import Alerts
from ronron.site.audit import Audit
from ronron.site.backup import AppBackup, Backup
from ronron.site.fields import (
    Address,
    Domain,
    Key,
    Label,
    Model,
    Name,
    Parameter,
    Scalar,
    Service,
    SitePath,
)
from ronron.site.logs import AppLogs, Logs
from ronron.site.security import Firewall, Hardening, Port
from ronron.site.storage import Storage
from ronron.site.userns import FIRST_ID
from ronron.site.volumes import VolumeSettings
from ronron.site.web import Access, Headers, Traffic

RESERVED_APPS = ("proxy", "registry", "socket-proxy", "site", "backup", "storage", "swarm")
"""Names of the platform's own apps and files in the vault: no file in `apps/` may take them."""

LETS_ENCRYPT = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
"""Let's Encrypt's two ACME directories, from its documentation."""

Role = Literal["manager", "worker", "storage"]


class Server(Model):
    """One server: how it is reached and what it does."""

    name: Name = Field(description="The server's name: the key under `servers`; its host name.")
    address: Address = Field(
        default="",
        description="DNS name or IP address, looked up at each connection; default: the name.",
    )
    roles: Annotated[
        tuple[Role, ...],
        Field(strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(values.roles),
    ] = Field(default=("worker",), description="What the server does.")
    user: Annotated[str, AfterValidator(values.user)] = Field(
        default="root", description="SSH user; `sudo -n` is used when it is not root."
    )
    port: int = Field(default=22, ge=1, le=65535, description="SSH port.")
    labels: dict[Label, str] = Field(default={}, description="Further labels of the swarm node.")

    @model_validator(mode="before")
    @classmethod
    def _address_is_name(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, Mapping) or data.get("address"):
            return data
        named = values.is_name(data.get("name"))
        return {**data, "address": data["name"]} if named else data

    @property
    def is_manager(self) -> bool:
        """Whether the server is a manager of the swarm."""
        return "manager" in self.roles


class Ssh(Model):
    """How ronron logs in to the servers."""

    key: str | None = Field(
        default=None,
        description="Private key's file, from the site's folder or with ~; default: ssh's own way. "
        "The variable RONRON_SSH_KEY comes before it.",
    )


class Docker(Model):
    """How Docker is installed, and what its containers may."""

    packages: Literal["debian", "docker"] = Field(
        default="debian",
        description="Whose packages: `debian` (the distribution's) or `docker` (Docker's own).",
    )
    autolock: bool = Field(
        default=False,
        description="A manager that restarts stays out of the swarm until `ronron server unlock`.",
    )
    no_new_privileges: bool = Field(
        default=True,
        description="No program in a container gains rights by sudo, setuid or file capabilities.",
    )
    userns_remap: bool = Field(
        default=False,
        description="Users of containers are none of the server's; for servers in no swarm yet.",
    )

    @property
    def first_id(self) -> int:
        """The user and group of a server that its containers know as 0."""
        return FIRST_ID if self.userns_remap else 0


class Acme(Model):
    """Where certificates come from."""

    directory: Annotated[str, AfterValidator(values.acme_directory)] = Field(
        default="letsencrypt",
        description="`letsencrypt`, `letsencrypt-staging`, or the https URL of an ACME directory.",
    )
    ca: SitePath | None = Field(
        default=None,
        description="File in the site: the CA that signed the directory's own certificate.",
    )
    trust: SitePath | None = Field(
        default=None,
        description="File in the site: the root that ronron checks the apps' certificates with.",
    )

    @property
    def url(self) -> str:
        """The directory's URL."""
        return LETS_ENCRYPT.get(self.directory, self.directory)


class Network(Model):
    """The network between the proxy and the apps."""

    subnet: Annotated[str, AfterValidator(values.subnet)] = Field(
        default="10.90.0.0/16", description="Private IPv4 network, from /16 to /24."
    )
    encrypted: bool = Field(
        default=True, description="Encrypt between servers; `false` on a private network."
    )
    interface: Annotated[str, AfterValidator(values.interface)] | None = Field(
        default=None,
        description="Network interface that the servers reach each other on; default: found.",
    )
    mtu: int | None = Field(
        default=None, ge=1280, le=65535, description="MTU in bytes; default: follows the link."
    )


class Mail(Model):
    """The mail relay that apps send by; its password is in the vault."""

    host: Annotated[str, AfterValidator(values.address)] = Field(
        description="DNS name or IP address of the relay."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="`starttls`, `tls` from the first byte, or `none`.",
    )
    port: int = Field(default=587, ge=1, le=65535, description="TCP port of the relay.")
    user: str | None = Field(
        default=None,
        min_length=1,
        description="Account at the relay; its password: ronron secrets set site mail_password.",
    )
    sender: Annotated[str, AfterValidator(values.email)] = Field(
        alias="from", description="E-mail address that the apps send from."
    )


class Images(Model):
    """Where the images of containers come from."""

    source: Literal["auto", "pull", "build"] = Field(
        default="auto",
        description="`pull` from a registry, `build` from the recipe, `auto`: what works.",
    )


class Site(Model):
    """`ronron.yml`: the servers and what is common to all apps."""

    name: Name = Field(description="The site's name.")
    domain: Domain = Field(
        description="Default domain of the apps: app `blog` is at `blog.DOMAIN`."
    )
    contact: Annotated[str, AfterValidator(values.email)] = Field(
        description="E-mail address given to the ACME server."
    )
    servers: dict[Key, Server] = Field(default={}, description="The servers, by name.")
    ssh: Ssh = Field(default=Ssh(), description="How ronron logs in to the servers.")
    docker: Docker = Field(default=Docker(), description="How Docker is installed.")
    acme: Acme = Field(default=Acme(), description="Where certificates come from.")
    network: Network = Field(
        default=Network(), description="The network between the proxy and the apps."
    )
    resolver: Annotated[str, AfterValidator(values.resolver)] | None = Field(
        default=None,
        description="Name server, `IP` or `IP:PORT`, asked for the names of servers and apps "
        "instead of this computer's: for private zones and the lab.",
    )
    images: Images = Field(default=Images(), description="Where container images come from.")
    mail: Mail | None = Field(
        default=None, description="The mail relay that apps send by; without it they send none."
    )
    backup: Backup | None = Field(
        default=None, description="Where backups go; without it none are made."
    )
    storage: Storage = Field(default=Storage(), description="Where volumes are kept.")
    firewall: Firewall = Field(default=Firewall(), description="The servers' own firewall.")
    hardening: Hardening = Field(
        default=Hardening(), description="How the servers are closed beside the firewall."
    )
    audit: Audit = Field(default=Audit(), description="What the audit takes for wrong.")
    alerts: Alerts = Field(
        default=Alerts(), description="From when on something is wrong, and who is told."
    )
    logs: Logs = Field(default=Logs(), description="How long log lines are kept.")
    playbooks: Annotated[tuple[SitePath, ...], Field(strict=False)] = Field(
        default=(), description="Ansible playbooks in the site, run after provisioning."
    )

    @field_validator("servers", mode="before")
    @classmethod
    def _named(cls, servers: Any) -> Any:  # noqa: ANN401
        if not isinstance(servers, Mapping):
            return servers
        return {
            key: {"name": key, **(value or {})}
            if value is None or isinstance(value, Mapping)
            else value
            for key, value in servers.items()
        }

    @field_validator("servers")
    @classmethod
    def _coherent(cls, servers: dict[str, Server]) -> dict[str, Server]:
        addresses: dict[str, str] = {}
        for key, server in servers.items():
            if server.name != key:
                raise values.fault(f"{key} says that its name is {server.name}", "remove its name")
            if server.address in addresses:
                raise values.fault(
                    f"{addresses[server.address]} and {key} have the same address {server.address}",
                    "each server is declared once",
                )
            addresses[server.address] = key
        if servers:
            values.managers([s.name for s in servers.values() if s.is_manager])
        return servers

    @model_validator(mode="after")
    def _unlocked_by_somebody(self) -> Site:
        if self.docker.autolock and self.hardening.reboot:
            raise values.fault(
                "is not possible with docker.autolock: at night nobody unlocks a manager",
                "remove one of the two",
                at="hardening.reboot",
            )
        return self

    @property
    def managers(self) -> tuple[Server, ...]:
        """The servers with the role manager, as declared."""
        return self.with_role("manager")

    @property
    def storage_server(self) -> Server:
        """The first server with the role storage, or else the first manager.

        It holds the volumes of files. Raises OperatorError when no server is declared.
        """
        return next(iter(self.with_role("storage")), None) or self.manager

    @property
    def manager(self) -> Server:
        """The first manager: it initialises the swarm and hosts the proxy and the registry.

        Raises OperatorError when no server is declared.
        """
        if not self.managers:
            raise OperatorError(
                "ronron.yml: servers: none is declared",
                remedy="ronron server add ADDRESS --role manager",
            )
        return self.managers[0]

    def with_role(self, role: Role) -> tuple[Server, ...]:
        """The servers that have `role`, as declared."""
        return tuple(s for s in self.servers.values() if role in s.roles)

    def server(self, name: str) -> Server:
        """The server called `name`. Raises OperatorError when there is none."""
        if name not in self.servers:
            raise OperatorError(
                f"ronron.yml: servers: there is no server {name}",
                remedy=values.suggestion(name, self.servers) or "see ronron server list",
            )
        return self.servers[name]


class Limits(Model):
    """What a service may use at most."""

    memory: Annotated[str, AfterValidator(values.memory)] | None = Field(
        default=None, description="Memory, such as `512M` or `1G`."
    )
    cpus: (
        Annotated[
            str,
            PlainValidator(values.cpus),
            WithJsonSchema({"type": ["string", "number"]}),
        ]
        | None
    ) = Field(default=None, description="CPUs, such as `0.5` or `2`.")


class App(Model):
    """`apps/NAME.yml`: one app, from a recipe or from a plain Compose stack file."""

    name: Name = Field(description="The app's name: the file's.")
    recipe: Name | None = Field(
        default=None, description="Name of the recipe, the site's own or a built-in one."
    )
    stack: SitePath | None = Field(
        default=None, description="Instead of a recipe: a Compose stack file in the site."
    )
    web: Annotated[str, AfterValidator(values.web)] | None = Field(
        default=None,
        description="Of a stack file: `SERVICE:PORT` that answers, where its labels do not say.",
    )
    domain: Domain | None = Field(
        default=None, description="Where the app is reached; default: `NAME.` and the site's."
    )
    parameters: dict[Parameter, Scalar] = Field(
        default={}, description="The recipe's parameters; for a stack file its `${VARIABLES}`."
    )
    limits: dict[Service, Limits] = Field(default={}, description="By service: what it may use.")
    replicas: dict[Service, Annotated[int, Field(ge=0, le=100)]] = Field(
        default={}, description="By service: how many run at once."
    )
    priority: int = Field(
        default=50,
        ge=0,
        le=100,
        description="When a rebuild brings it back: lower numbers first, equal ones together.",
    )
    volumes: dict[Service, VolumeSettings] = Field(
        default={}, description="By volume: what is set for it."
    )
    images: dict[Service, Annotated[str, AfterValidator(values.image)]] = Field(
        default={}, description="By service: the image, with its tag, instead of the recipe's."
    )
    published_ports: Annotated[tuple[Port, ...], Field(strict=False)] = Field(
        default=(), description="Ports of the app that the servers' firewall opens."
    )
    headers: Headers = Field(default=Headers(), description="Headers of the app's answers.")
    access: Access = Field(default=Access(), description="Who may reach the app.")
    traffic: Traffic = Field(default=Traffic(), description="What the proxy lets through.")
    logs: AppLogs = Field(default=AppLogs(), description="What is kept of the app's requests.")
    encrypted: bool = Field(
        default=False,
        description="Encrypt the app's own networks between servers where the site's are not.",
    )
    backup: AppBackup | None = Field(
        default=None, description="When it is backed up and how long that is kept, if not as all."
    )

    @model_validator(mode="after")
    def _one_source(self) -> App:
        if self.recipe and self.stack:
            raise values.fault("has a recipe and a stack", "keep one of the two", at="stack")
        if not self.recipe and not self.stack:
            raise values.fault(
                "missing",
                "name a recipe, as ronron recipe list has them, or give stack: FILE",
                at="recipe",
            )
        if self.recipe and self.web:
            raise values.fault("is for a stack file: a recipe says it", "remove it", at="web")
        return self
