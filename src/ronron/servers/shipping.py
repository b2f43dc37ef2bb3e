"""What sends a server's log lines to the site's store: rsyslog's configuration, and its service.

The journal has what programs and the kernel say, and, since Docker logs to it, what containers
write; the proxy's access log is a file. rsyslog reads both from where it left off, tells the class
of each line, and sends it over HTTPS in the Elasticsearch bulk format; what cannot be sent waits on
disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources

from ronron.servers.provision import requests
from ronron.servers.provision.model import File, LogAccess, Part
from ronron.site.logs import CLASSES, PORT, Addresses, store_of
from ronron.site.models import App

HOST = "logs.ronron.internal"
"""The store's name, in the servers' hosts files."""

PROXY = "proxy"
"""The app of the requests that the proxy itself answers: those for no app, and those that it sends
on from HTTP to HTTPS."""

SERVICE = "ronron_shipper"
FOLDER = "/etc/rsyslog.d/ronron"
SPOOL = "/var/spool/rsyslog/ronron"
PROGRAM = "/usr/local/lib/ronron/addresses.py"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
CONFIGURATION = f"{FOLDER}/shipper.conf"
PACKAGES = ("rsyslog", "rsyslog-elasticsearch")

SPOOL_SIZE = "1g"
"""What may wait on disk, of each class. Beyond that rsyslog reads no further."""

BATCH = 100
"""Lines of a class in one request. When rsyslog is stopped while the store is away, it forgets
those that it tries to send again and again: a batch from memory, and one from disk."""

_STOP = ("systemctl", "disable", "--now", "rsyslog.service")
_WHY = "log lines go to the site's store"

_UNIT = f"""\
# Written by ronron apply: log lines go from the journal to the site's store.
[Unit]
Description=ronron: log lines to the site's store
After=systemd-journald.service network.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/sbin/rsyslogd -n -iNONE -f {CONFIGURATION}
Restart=always
RestartSec=5
TimeoutStopSec=60
UMask=0077
MemoryMax=192M
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={SPOOL}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""

_HEAD = f"""\
# Written by ronron apply: this server's journal and access log go to the site's log store.
global(workDirectory="{SPOOL}" maxMessageSize="64k" net.enableDNS="off"
       abortOnUncleanConfig="on")
module(load="imjournal" stateFile="journal" persistStateInterval="100"
       rateLimit.interval="0" ignorePreviousMessages="off")
# By looking once a second: lines are taken and sent by the dozen, for half of the work.
module(load="imfile" mode="polling" pollingInterval="1")
module(load="mmjsonparse")
module(load="omelasticsearch")
main_queue(queue.type="LinkedList" queue.filename="main" queue.maxDiskSpace="{SPOOL_SIZE}"
           queue.size="10000" queue.saveOnShutdown="on" queue.timeoutShutdown="10000"
           queue.timeoutEnqueue="3600000")
"""

_CLASSES = """\
ruleset(name="requests") {
    action(type="mmjsonparse" cookie="" container="$.line")
    # The proxy's services and routers are APP or APP_MORE.
    set $.app = re_extract($.line!ServiceName, '^([^@_]+)(_[^@]*)?@swarm$', 0, 1, "");
    # What the proxy itself answered knows no service.
    if $.app == "" then
        set $.app = re_extract($.line!RouterName, '^([^@_]+)(_[^@]*)?@swarm$', 0, 1, "{proxy}");
    set $.message = $.line!RequestMethod & " " & $.line!RequestHost & $.line!RequestPath & " "
                    & $.line!DownstreamStatus;
    set $.milliseconds = $.line!Duration / 1000000;
{addresses}    call access
}
input(type="imfile" file="{requests}" tag="requests" ruleset="requests"
      persistStateInterval="100")
if $!CONTAINER_ID != "" then {
    # A service's name in the swarm is APP_SERVICE, and that of an app has no underscore.
    set $.name = $!COM_DOCKER_SWARM_SERVICE_NAME;
    if $.name == "" then
        set $.name = $!CONTAINER_NAME;
    set $.app = re_extract($.name, '^([^_]+)', 0, 1, $.name);
    set $.service = re_extract($.name, '^[^_]+_(.+)$', 0, 1, "");
    call app
    stop
}
call system
"""

_SERVER = 'constant(outname="server" value="{server}" format="jsonf")'
_TIME = 'property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")'
_FIELDS = {
    "access": (
        ("time", "$.line!StartUTC"),
        ("app", "$.app"),
        ("message", "$.message"),
        ("method", "$.line!RequestMethod"),
        ("host", "$.line!RequestHost"),
        ("path", "$.line!RequestPath"),
        ("status", "$.line!DownstreamStatus"),
        ("duration", "$.milliseconds"),
        ("size", "$.line!DownstreamContentSize"),
        ("client", "$!client"),
        ("user", "$.line!ClientUsername"),
        ("agent", "$.line!request_User-Agent"),
        ("referer", "$.line!request_Referer"),
    ),
    "app": (
        ("app", "$.app"),
        ("service", "$.service"),
        ("severity", "syslogseverity-text"),
        ("message", "msg"),
    ),
    "system": (
        ("service", "programname"),
        ("unit", "$!_SYSTEMD_UNIT"),
        ("severity", "syslogseverity-text"),
        ("message", "msg"),
    ),
}


def part(server: str, apps: Iterable[App], access: LogAccess) -> Part:
    """What provisioning puts on a server where the site has a log store; else it is stopped."""
    apps = tuple(apps)
    if store_of(apps) is None:
        return Part(stopped=(SERVICE,))
    program = resources.files("ronron.servers").joinpath("addresses.py").read_text()
    return Part(
        packages=PACKAGES,
        folders=((SPOOL, 0o700), (FOLDER, 0o755), ("/usr/local/lib/ronron", 0o755)),
        files=(
            File(f"{FOLDER}/ca.pem", access.ca, why=_WHY, secret=True, service=SERVICE),
            File(
                f"{FOLDER}/client.pem", access.certificate, why=_WHY, secret=True, service=SERVICE
            ),
            File(f"{FOLDER}/client.key", access.key, 0o600, _WHY, secret=True, service=SERVICE),
            File(PROGRAM, program, why="shortens clients' addresses", service=SERVICE),
            File(CONFIGURATION, configuration(server, apps), why=_WHY, service=SERVICE),
            # Debian's own service, which the package starts, would write a second copy to /var/log.
            File(UNIT, _UNIT, why=_WHY, service=SERVICE, then=_STOP),
        ),
        services=(SERVICE,),
        stopped=("rsyslog",),
    )


def configuration(server: str, apps: Iterable[App]) -> str:
    """rsyslog's configuration on `server`."""
    apps = tuple(apps)
    shortened: dict[Addresses, list[str]] = {}
    for app in apps:
        shortened.setdefault(app.logs.addresses, []).append(app.name)
    shortened.pop("whole", None)
    if shortened:
        # What the proxy itself answers is for any of the apps.
        shortened[min(shortened)].append(PROXY)
    head = _HEAD + ('module(load="mmexternal")\n' if shortened else "")
    outputs = "\n".join(_output(name, server) for name in CLASSES)
    classes = _CLASSES.replace("{requests}", requests.FILES)
    classes = classes.replace("{proxy}", PROXY).replace("{addresses}", _addresses(shortened))
    return f"{head}\n{outputs}\n{classes}"


def _addresses(shortened: dict[Addresses, list[str]]) -> str:
    """How the field `client` is set. What shortens it failed: then it stays empty."""
    lines = []
    for how, names in sorted(shortened.items()):
        listed = _listed(sorted(names))
        lines += [
            f"if $.app == {listed} then {{",
            f'    action(type="mmexternal" binary="/usr/bin/python3 -B {PROGRAM} {how}"',
            '           interface.input="msg" forceSingleInstance="on")',
            "} else",
        ]
    lines.append("set $!client = $.line!ClientHost;" if not lines else "{")
    if shortened:
        lines += ["    set $!client = $.line!ClientHost;", "}"]
    return "".join(f"    {line}\n" for line in lines)


def _listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _output(name: str, server: str) -> str:
    """The template of one class, and the ruleset that sends its lines, with its queue."""
    fields = [_SERVER.replace("{server}", server), *([] if name == "access" else [_TIME])]
    fields += [
        f'property(outname="{field}" name="{of}" format="jsonf")' for field, of in _FIELDS[name]
    ]
    indented = "".join(f"    {line}\n" for line in fields)
    return f"""\
template(name="{name}" type="list" option.jsonf="on") {{
{indented}}}
template(name="index_{name}" type="string" string="ronron-{name}-%$year%.%$month%.%$day%")
ruleset(name="{name}") {{
    action(type="omelasticsearch" name="{name}" server="https://{HOST}:{PORT}/{name}"
           template="{name}" searchIndex="index_{name}" dynSearchIndex="on"
           esVersion.major="8" bulkMode="on" maxBytes="4m" writeOperation="create"
           healthCheckTimeout="10000"
           tls.caCert="{FOLDER}/ca.pem"
           tls.myCert="{FOLDER}/client.pem" tls.myPrivKey="{FOLDER}/client.key"
           action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax="10"
           queue.type="LinkedList" queue.filename="{name}" queue.maxDiskSpace="{SPOOL_SIZE}"
           queue.size="5000" queue.dequeueBatchSize="{BATCH}" queue.workerThreads="1"
           queue.saveOnShutdown="on" queue.timeoutShutdown="10000"
           queue.timeoutEnqueue="3600000")
}}"""
