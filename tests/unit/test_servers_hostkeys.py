"""Host keys pinned by server name, and what is said when OpenSSH refuses."""

from pathlib import Path

import pytest

from ronron.servers.hostkeys import HostKey, pin, pinned, unpin
from ronron.servers.refusals import Attempt, explain

# Made with ssh-keygen; the fingerprints are what `ssh-keygen -l` prints.
OLD = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAILiIOxwZsCGqAW09ub5jQEVP+DBbv++8vWp1c0A9ZPDb")
NEW = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIC40KUqIyrV37fuXkyuA1nhRNlEODil43zEtjLF9/uoS")
OLD_FINGERPRINT = "SHA256:k6ebFZc8bTEG6jIq87e97eCPFT0Hb7NNkAx2NX0zTls"


def test_the_fingerprint_is_what_openssh_prints() -> None:
    assert OLD.fingerprint == OLD_FINGERPRINT


def test_pinning_replaces_a_servers_keys_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    assert pinned(file, "master") == []
    file.write_text("# kept\n")
    pin(file, "master", [OLD])
    pin(file, "master-2", [OLD])
    pin(file, "master", [NEW])
    assert pinned(file, "master") == [NEW]
    assert pinned(file, "master-2") == [OLD]
    assert file.read_text().startswith("# kept\n")
    assert unpin(file, "master")
    assert not unpin(file, "master")
    assert file.read_text() == f"# kept\n{OLD.line('master-2')}\n"


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    pin(tmp_path / "known_hosts", "master", [OLD])
    return Attempt(
        server="master",
        address="master.example.org",
        ip="192.0.2.1",
        port=22,
        user="root",
        known_hosts=tmp_path / "known_hosts",
        key=Path("id_hoster"),
    )


CHANGED = f"""\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
The fingerprint for the ED25519 key sent by the remote host is\n{NEW.fingerprint}.\r
Please contact your system administrator.\r
Host key verification failed.\r
"""


def test_a_changed_key_is_told_with_both_fingerprints(attempt: Attempt) -> None:
    said = str(explain(attempt, CHANGED))
    assert f"pinned {OLD_FINGERPRINT} (ssh-ed25519)" in said
    assert f"presented {NEW.fingerprint} (ED25519)" in said
    assert "ronron server add master.example.org --name master" in said
    assert "\r" not in said


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (
            "No ED25519 host key is known for master and you have requested strict checking.\r\n"
            "Host key verification failed.\r\n",
            "no host key of master.example.org (192.0.2.1) port 22 is pinned in known_hosts",
        ),
        (
            "root@192.0.2.1: Permission denied (publickey).\r\n",
            "root may not log in at master.example.org (192.0.2.1) port 22 with id_hoster",
        ),
        (
            "ssh: connect to host 192.0.2.1 port 22: Connection timed out\r\n",
            "no connection to master.example.org (192.0.2.1) port 22: ssh: connect to host"
            " 192.0.2.1 port 22: Connection timed out",
        ),
        (
            "ssh: Could not resolve hostname master.example.org: Name or service not known\r\n",
            "master.example.org: no such name",
        ),
        ("", "no connection to master.example.org (192.0.2.1) port 22: no answer"),
    ],
)
def test_refusals_say_what_and_where(attempt: Attempt, stderr: str, expected: str) -> None:
    error = explain(attempt, stderr)
    assert error.message == f"master: {expected}"
    assert error.remedy
    assert error.exit_code == 2
