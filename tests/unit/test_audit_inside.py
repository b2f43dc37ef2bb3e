"""The audit of servers from inside: what the program there sees, and what is judged of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from findings import ids
from ronron.audit import inside
from ronron.errors import ServerError
from ronron.servers.local import LocalRunner
from ronron.servers.recording import Answer, RecordingRunner

DATA = Path(__file__).parent / "audit"


def look() -> inside.Inside:
    """What the program said of a lab's manager."""
    return inside.parse((DATA / "manager.json").read_text())


def test_a_labs_manager_has_what_is_explained_and_no_more() -> None:
    found = list(inside.findings("manager", look(), {"socket-proxy": "one API"}, 90))
    assert ids(found) == {"container-docker-socket": "info", "container-root": "info"}
    assert "its recipe says: one API" in found[0].evidence
    assert found[0].where == "app socket-proxy"


def test_the_docker_socket_without_a_reason_is_critical() -> None:
    found = ids(inside.findings("manager", look(), {}, 90))
    assert found["container-docker-socket"] == "critical"


def container(**fields: Any) -> inside.Container:
    known = look().containers[0]
    return replace(known, name="shop_web", app="shop", **fields)


@pytest.mark.parametrize(
    ("fields", "name", "severity"),
    [
        ({"mounts": ("/srv/files", "/run")}, "container-docker-socket", "critical"),
        ({"mounts": ("/",)}, "container-docker-socket", "critical"),
        ({"privileged": True}, "container-privileged", "critical"),
        ({"namespaces": ("NetworkMode",)}, "container-host-namespace", "high"),
        ({"user": "", "dropped": ()}, "container-root", "low"),
        ({"user": "root:root", "added": ("NET_ADMIN",)}, "container-root", "low"),
        ({"memory": 0}, "container-no-limit", "medium"),
        ({"created": "2026-01-02T03:04:05.123456789Z"}, "image-old", "medium"),
        ({"created": "2026-01-02T03:04:05Z"}, "image-old", "medium"),
        ({"created": "2026-01-02T03:04:05.123456789+01:00"}, "image-old", "medium"),
        ({"created": "2026-01-02T03:04:05+01:00"}, "image-old", "medium"),
        ({"packages": {"libc6": ("2.41-12", "2.41-13")}}, "image-fixes-pending", "medium"),
    ],
)
def test_containers_that_may_too_much(fields: dict[str, Any], name: str, severity: str) -> None:
    seen = replace(look(), containers=(container(**fields),))
    found = list(inside.findings("worker-1", seen, {}, 90))
    assert ids(found) == {name: severity}
    assert found[0].where == "app shop"


@pytest.mark.parametrize(
    ("fields", "name", "severity"),
    [
        ({"security": ("openssl 3.5.1",)}, "upgrades-security", "high"),
        ({"upgrades": ("vim 9",)}, "upgrades-other", "info"),
        ({"lists_age": 8 * 86400.0}, "package-lists-old", "medium"),
        ({"lists_age": -1.0}, "package-lists-old", "medium"),
        ({"reboot": True}, "reboot-pending", "low"),
        ({"docker_listens": ("tcp://0.0.0.0:2375",)}, "docker-tcp", "critical"),
        (
            {"secrets": (inside.Readable("/etc/ssl/a.key", "a private key"),)},
            "secret-readable",
            "high",
        ),
        ({"search_ended": "/opt/many"}, "secrets-unsearched", "low"),
    ],
)
def test_servers_that_were_left_alone(fields: dict[str, Any], name: str, severity: str) -> None:
    seen = replace(look(), containers=(), **fields)
    assert ids(inside.findings("worker-1", seen, {}, 90)) == {name: severity}


def test_lynis_report_is_told() -> None:
    lynis = inside.Lynis(67, ("BOOT-5122|Set a password on GRUB|-|-|",), 40, 86400.0)
    seen = replace(look(), containers=(), lynis=lynis)
    found = list(inside.findings("a", seen, {}, 90))
    assert ids(found) == {"lynis-warning": "low", "lynis-index": "info"}
    assert found[0].what == "lynis warns: Set a password on GRUB"
    assert "67" in found[1].what


def test_each_check_of_docker_bench_security_is_a_finding_of_its_own() -> None:
    warnings = (
        inside.BenchWarning("2.9", "Enable user namespace support", "", "Ask."),
        inside.BenchWarning("5.11", "Memory is limited", "Containers without: a b", ""),
    )
    seen = replace(look(), containers=(), docker_bench=inside.DockerBench(warnings))
    found = list(inside.findings("a", seen, {}, 90))
    assert ids(found) == {"docker-bench-2.9": "low", "docker-bench-5.11": "low"}
    assert [(one.evidence, one.remedy) for one in found] == [
        ("check 2.9", "Ask."),
        ("check 5.11: Containers without: a b", ""),
    ]


def test_the_program_looks_at_this_computer() -> None:
    seen = inside.look(LocalRunner())
    assert seen.clock > 0
    assert all(isinstance(one, inside.Container) for one in seen.containers)


def program_of(folder: Path) -> dict[str, Any]:
    """What look.py defines, with `folder` instead of the server's."""
    text = (Path(inside.__file__).parent / "look.py").read_text()
    text = text.replace('ROOTS = ("/etc",', f"ROOTS = ({str(folder)!r},").partition("json.dump")[0]
    names: dict[str, Any] = {}
    exec(compile(text, "look.py", "exec"), names)  # noqa: S102 - our own program
    return names


def test_the_program_reads_where_udp_is_listened_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        'UNCONN 0 0 192.0.2.7:5353 0.0.0.0:* users:(("avahi-daemon",pid=7,fd=12))',
        'UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=8,fd=13))',
        "UNCONN 0 0 [::1]:323 [::]:*",
        "UNCONN 0 0 *:4789 *:*",
    )
    program = tmp_path / "ss"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert program_of(tmp_path)["_udp"]() == {(5353, "192.0.2.7", "avahi-daemon"), (4789, "*", "")}


def test_the_program_asks_sshd_of_each_user(tmp_path: Path) -> None:
    names = program_of(tmp_path)
    asked = []

    def output(*argv: str) -> str:
        asked.append(argv)
        return "port 22\npermitrootlogin no\npasswordauthentication yes\nsubsystem sftp x y\n"

    names["_output"] = output
    told = {"permitrootlogin": "no", "passwordauthentication": "yes"}
    assert names["_sshd"](["root", "cat"]) == {"root": told, "cat": told}
    assert [argv[:3] for argv in asked] == [("/usr/sbin/sshd", "-T", "-C")] * 2
    assert asked[1][3].startswith("user=cat,host=")


def test_a_containers_packages_are_no_options_of_programs_here(tmp_path: Path) -> None:
    blocks = (("libc6", "2.41-12"), ("-oDir::Bin::dpkg=/evil", "1"), ("tar", "--root=/evil"))
    text = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in blocks
    )
    assert program_of(tmp_path)["_installed"](text) == {"libc6": "2.41-12"}


def test_a_containers_files_are_read_without_waiting(tmp_path: Path) -> None:
    theirs = program_of(tmp_path)["_theirs"]
    os.mkfifo(tmp_path / "status")
    (tmp_path / "os-release").write_text("VERSION_CODENAME=trixie\n")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert theirs(tmp_path / "status") == theirs(tmp_path / "zero") == ""
    assert theirs(tmp_path / "os-release") == "VERSION_CODENAME=trixie\n"


def test_a_folder_that_goes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    names = program_of(tmp_path)
    (tmp_path / "open.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "open.key").chmod(0o644)
    tmp_path.chmod(0o755)

    class Walking:
        path = os.path

        @staticmethod
        def walk(root: str) -> list[tuple[str, list[str], list[str]]]:
            if root != str(tmp_path):
                return []
            return [(f"{root}/gone", [], []), (root, [], ["open.key"])]

    names["os"] = Walking
    assert [one["path"] for one in names["_secrets"]()[0]] == [str(tmp_path / "open.key")]


def test_the_program_finds_what_all_can_read(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n"
    for name, content, mode in (
        ("open.key", key, 0o644),
        ("closed.key", key, 0o600),
        ("public.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
        (".env", "DB_PASSWORD=tuna-and-milk\n", 0o644),
        ("example.env", "COLOUR=red\n", 0o644),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "id_ed25519").write_text(key)
    (hidden / "id_ed25519").chmod(0o644)
    tmp_path.chmod(0o755)
    names = program_of(tmp_path)
    found = {one["path"]: one["kind"] for one in names["_secrets"]()[0]}
    mine = {path: kind for path, kind in found.items() if path.startswith(str(tmp_path))}
    assert mine == {
        str(tmp_path / "open.key"): "a private key",
        str(tmp_path / ".env"): "passwords",
    }


def test_a_server_whose_program_fails_is_an_error() -> None:
    runner = RecordingRunner("worker-1", {"python3": Answer(status=1, stderr=b"no disk\n")})
    with pytest.raises(ServerError, match="worker-1: it could not be looked at") as caught:
        inside.look(runner)
    assert caught.value.details == ("no disk",)
