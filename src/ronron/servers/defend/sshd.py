"""The servers' SSH: one file beside the system's own, whose settings come first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

FILE = "/etc/ssh/sshd_config.d/00-ronron.conf"

KEX = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
)
"""Key exchanges that are safe from quantum computers too: ssh-audit's policy for Debian 13."""

OLDER_KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
)
"""Those that its policies add where the first of KEX is not known, such as Debian 12."""

UBUNTU_24 = "ubuntu 24.04"
UBUNTU_24_KEX = (*OLDER_KEX[:2], OLDER_KEX[3], OLDER_KEX[4], OLDER_KEX[2])
"""The same in the order of the policy for that release."""

CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-gcm@openssh.com",
    "aes128-ctr",
)
MACS = (
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "umac-128-etm@openssh.com",
)
OLDER_MACS = (MACS[1], MACS[0], MACS[2])
"""The same in the order of the policies for Debian 12 and Ubuntu 22.04."""

HOST_KEYS = (
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-ed25519",
)
RSA_KEYS = (
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""For a server that is not known by a better key: Debian's has 3072 bits, policies want 4096."""


def settings(
    users: Sequence[str],
    known: Collection[str],
    unpunished: Sequence[str] = (),
    *,
    release: str = "",
    rsa: bool = False,
) -> str:
    """The file: keys alone, `users` alone, of `known` algorithms (`ssh -Q`) the current ones.

    sshd lets nobody in for a while who connects often and does not log in, such as an audit; not so
    from the addresses and networks `unpunished`. `release` is the system's (`debian 13`). With
    `rsa` the server also shows its RSA key.
    """
    kex: tuple[str, ...] = KEX
    macs = MACS
    if KEX[0] not in known:
        ubuntu_24 = release == UBUNTU_24
        kex += UBUNTU_24_KEX if ubuntu_24 else OLDER_KEX
        macs = MACS if ubuntu_24 else OLDER_MACS
    lines = {
        "PermitRootLogin": "prohibit-password" if "root" in users else "no",
        "AllowUsers": " ".join(users),
        "AuthenticationMethods": "publickey",
        "PubkeyAuthentication": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitEmptyPasswords": "no",
        "HostbasedAuthentication": "no",
        "IgnoreRhosts": "yes",
        "MaxAuthTries": "3",
        "LoginGraceTime": "30",
        "MaxStartups": "20:30:100",
        "X11Forwarding": "no",
        "AllowAgentForwarding": "no",
        "AllowTcpForwarding": "local",
        "PermitTunnel": "no",
        "PermitUserEnvironment": "no",
        "Compression": "no",
        "ClientAliveInterval": "60",
        "ClientAliveCountMax": "2",
        "TCPKeepAlive": "no",
        "LogLevel": "VERBOSE",
        "KexAlgorithms": _known(kex, known),
        "Ciphers": _known(CIPHERS, known),
        "MACs": _known(macs, known),
        "HostKeyAlgorithms": _known((*HOST_KEYS, *(RSA_KEYS if rsa else ())), known),
    }
    if KEX[0] in known:  # OpenSSH 9.9; sshd has these penalties since 9.8
        lines["PerSourcePenaltyExemptList"] = ",".join(unpunished)
    head = "# Written by ronron apply; what other files say of the same comes too late.\n"
    return head + "".join(f"{key} {value}\n" for key, value in lines.items() if value)


def _known(wanted: Sequence[str], known: Collection[str]) -> str:
    return ",".join(name for name in wanted if name in known)
