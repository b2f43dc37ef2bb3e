"""fail2ban's files: who tries passwords at SSH or an app, or scans, is banned for a while.

The banned are put into sets of our own nftables table, which drops them before anything else: they
reach neither the server nor a container.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ronron.servers.defend.rules import BANS, TABLE
from ronron.servers.provision import requests

PACKAGES = ("fail2ban", "python3-systemd")
KNOWN = "/usr/local/lib/ronron/known-address"

_JAIL = """\
# Written by ronron apply.
[DEFAULT]
banaction = ronron
banaction_allports = ronron
backend = systemd
bantime = 10m
bantime.increment = true
bantime.maxtime = 1w
bantime.rndtime = 60
findtime = 10m
maxretry = 5
ignoreself = true
ignoreip = {ignored}
ignorecommand = {known} <ip>

[sshd]
enabled = true
mode = normal

[ronron-proxy]
enabled = true
filter = ronron-proxy
backend = polling
logpath = {requests}

[ronron-scan]
enabled = true
filter = ronron-scan
backend = polling
logpath = {requests}
maxretry = 3
"""

ACTION = f"""\
# Written by ronron apply: the jail's sets are in the servers' firewall, {BANS}.
[Definition]
actionstart =
actionstop =
actioncheck =
actionflush = nft flush set {BANS} <set>
actionban = nft add element {BANS} <set> {{ <ip> timeout <bantime>s }}
actionunban = nft delete element {BANS} <set> {{ <ip> }} 2>/dev/null || :

[Init]
set = <name>4

[Init?family=inet6]
set = <name>6
"""

# Traefik writes its fields in alphabetical order, and whatever a client sent as JSON strings: no
# quote in them is without a backslash before it.
_BEGIN = r'^\{"ClientHost":"<ADDR>",'
_USER = r'"ClientUsername":"(?:[^"\\]|\\.)+","DownstreamContentSize":\d+,'
_ANY_USER = r'"ClientUsername":"(?:[^"\\]|\\.)*","DownstreamContentSize":\d+,'

_SCANNED = "|".join(
    (
        *(r"\.env", r"\.git/", r"\.aws/", r"\.ssh/", r"\.svn/", r"\.htpasswd", r"wp-config\.php"),
        *(r"phpinfo\.php", "phpunit/", "cgi-bin/", "boaform/"),
    )
)
# What is taken for the time of a line is cut out of it, and must not come from a client: there, a
# quote before a colon has a backslash before it.
_DATE = r'datepattern = ,"StartUTC":"%%Y-%%m-%%dT%%H:%%M:%%S(?:\.\d+)?%%z"'
_PATH = r'"/(?:[^"\\]*/)?(?:' + _SCANNED + ")"

PROXY = f"""\
# Written by ronron apply: passwords tried at an app. A request without any is asked for one with
# the same status (401), so only those with a user's name count, and forms that were sent.
[Definition]
{_DATE}
failregex = {_BEGIN}(?!"ClientUsername":"-"){_USER}"DownstreamStatus":401,
            {_BEGIN}{_ANY_USER}"DownstreamStatus":401,.*,"RequestMethod":"POST",
"""

SCAN = f"""\
# Written by ronron apply: files that no app serves and scanners ask for.
[Definition]
{_DATE}
failregex = {_BEGIN}{_ANY_USER}"DownstreamStatus":4\\d\\d,.*,"RequestPath":{_PATH}
"""

KNOWN_ADDRESS = f"""\
#!/bin/sh
# Written by ronron apply. fail2ban asks whether address $1 is never banned: the site's servers are
# no attackers, by whichever of their addresses they come, nor is from whom somebody logged in with
# a key during the last 30 days.
nft list chain {TABLE} servers 2>/dev/null | tr -s ' ,' '\\n' | grep -qxF "$1" && exit
journalctl --quiet --unit=ssh.service --since=-30d --lines=1 \\
    --grep="^Accepted publickey for [^ ]+ from $1 port" 2>/dev/null | grep -q .
"""


def files(ignored: Sequence[str]) -> Mapping[str, tuple[str, int]]:
    """Path to content and permission bits; `ignored` are addresses that are never banned."""
    never = " ".join(("127.0.0.0/8", "::1", *ignored))
    jail = _JAIL.format(ignored=never, known=KNOWN, requests=requests.PATH)
    return {
        KNOWN: (KNOWN_ADDRESS, 0o755),
        "/etc/fail2ban/action.d/ronron.conf": (ACTION, 0o644),
        "/etc/fail2ban/filter.d/ronron-proxy.conf": (PROXY, 0o644),
        "/etc/fail2ban/filter.d/ronron-scan.conf": (SCAN, 0o644),
        "/etc/fail2ban/jail.d/ronron.conf": (jail, 0o644),
    }
