"""Settings of kernel and system: what dev-sec's Linux baseline asks that fits a Docker host.

Forwarding stays on, and no file system is taken from the kernel: containers need both.
"""

from __future__ import annotations

SYSCTL = {
    "dev.tty.ldisc_autoload": 0,
    "fs.protected_fifos": 2,
    "fs.protected_hardlinks": 1,
    "fs.protected_regular": 2,
    "fs.protected_symlinks": 1,
    "fs.suid_dumpable": 0,
    "kernel.core_uses_pid": 1,
    "kernel.dmesg_restrict": 1,
    "kernel.kptr_restrict": 2,
    "kernel.perf_event_paranoid": 3,
    "kernel.randomize_va_space": 2,
    "kernel.sysrq": 0,
    "kernel.unprivileged_bpf_disabled": 1,
    "kernel.yama.ptrace_scope": 1,
    "net.core.bpf_jit_harden": 2,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.all.accept_source_route": 0,
    "net.ipv4.conf.all.log_martians": 1,
    "net.ipv4.conf.all.secure_redirects": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.accept_redirects": 0,
    "net.ipv4.conf.default.accept_source_route": 0,
    "net.ipv4.conf.default.log_martians": 1,
    "net.ipv4.conf.default.secure_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.icmp_echo_ignore_broadcasts": 1,
    "net.ipv4.icmp_ignore_bogus_error_responses": 1,
    "net.ipv4.tcp_rfc1337": 1,
    "net.ipv4.tcp_syncookies": 1,
    "net.ipv6.conf.all.accept_redirects": 0,
    "net.ipv6.conf.all.accept_source_route": 0,
    "net.ipv6.conf.default.accept_redirects": 0,
    "net.ipv6.conf.default.accept_source_route": 0,
}

MODULES = ("dccp", "rds", "sctp", "tipc", "firewire-core")
"""Kernel modules that are not loaded. No file system is among them."""

_HEAD = "# Written by ronron apply.\n"

_AUDIT = """\
# Written by ronron apply: who changes accounts, SSH, sudo, time, or what starts by itself.
-D
-b 8192
-f 1
-w /etc/passwd -p wa -k identity
-w /etc/group -p wa -k identity
-w /etc/shadow -p wa -k identity
-w /etc/gshadow -p wa -k identity
-w /etc/sudoers -p wa -k privilege
-w /etc/sudoers.d/ -p wa -k privilege
-w /etc/ssh/ -p wa -k ssh
-w /root/.ssh/ -p wa -k ssh
-w /etc/docker/ -p wa -k docker
-w /usr/bin/dockerd -p wa -k docker
-w /usr/bin/docker -p wa -k docker
-w {docker}/swarm/ -p wa -k docker
-w /etc/systemd/system/ -p wa -k units
-w /etc/cron.d/ -p wa -k units
-w /etc/crontab -p wa -k units
-w /etc/ronron/ -p wa -k ronron
-w /etc/localtime -p wa -k time
-w /etc/hosts -p wa -k names
-a always,exit -F arch=b64 -S init_module,finit_module,delete_module -k modules
"""


def audit(docker: str) -> str:
    """What auditd is to write down, where Docker keeps its data in the folder `docker`."""
    return _AUDIT.format(docker=docker)


CONDITION = f"""\
{_HEAD}# The kernel's audit is the host's: there is none in a container.
[Unit]
ConditionVirtualization=!container
"""

BANNER = """\
Only those who administer this system may enter it. Every access and connection is recorded; what
is found as evidence of unauthorised use is reported to its owner and to the law.
"""
"""Said before a login; Debian's own says which system this is, and its version."""

SHELL_SECONDS = 3600
"""After so long without a command a login shell ends."""

PACKAGES = ("auditd",)
NEEDLESS = ("avahi-daemon", "bluetooth", "cups", "cups-browsed", "ModemManager")
"""Services of desktops: a server that has them is known to more programs than it needs."""

SERVICES = ("systemd-sysctl", "auditd")
RULES = "/etc/audit/rules.d/60-ronron.rules"
FILES = {
    "/etc/sysctl.d/60-ronron.conf": (
        f"{_HEAD}# A setting that this kernel does not have or give away is passed over (-).\n"
        + "".join(f"-{key} = {value}\n" for key, value in SYSCTL.items()),
        "kernel settings",
        "systemd-sysctl",
    ),
    "/etc/security/limits.d/60-ronron.conf": (
        f"{_HEAD}* hard core 0\nroot hard core 0\n",
        "no core dumps: they hold secrets",
        "",
    ),
    "/etc/systemd/coredump.conf.d/60-ronron.conf": (
        f"{_HEAD}[Coredump]\nStorage=none\nProcessSizeMax=0\n",
        "no core dumps: they hold secrets",
        "",
    ),
    "/etc/modprobe.d/60-ronron.conf": (
        _HEAD + "".join(f"install {name} /bin/false\n" for name in MODULES),
        "protocols that nobody uses and that had holes",
        "",
    ),
    "/etc/profile.d/ronron-umask.sh": (
        f'{_HEAD}umask 027\n[ -n "${{TMOUT-}}" ] || readonly TMOUT={SHELL_SECONDS}\n',
        "what an operator writes is not for everybody, nor a shell that was left",
        "",
    ),
    **{
        f"/etc/systemd/system/{unit}.service.d/60-ronron.conf": (
            CONDITION,
            "there is no audit in a container",
            "",
        )
        for unit in ("auditd", "audit-rules")
    },
    "/etc/issue": (BANNER, "who connects is told nothing of the system", ""),
    "/etc/issue.net": (BANNER, "who connects is told nothing of the system", ""),
}
"""Path to content, why, and the service to restart."""
