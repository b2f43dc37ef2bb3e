"""The parts of the lab that can be tried without Docker."""

import socket
from pathlib import Path

import pytest

from ronron.errors import OperatorError
from ronron.lab import containers, model
from ronron.lab.model import Lab, LabServer

ALL = "000001ffffffffff"
NO_SYS_RESOURCE = "000001fffeffffff"
HOSTS_OWN = {"SYS_TIME", "SYS_MODULE", "SYS_RAWIO"}


def status(name: str, pids: str, bounding: str) -> str:
    return f"Name:\t{name}\nNSpid:\t{pids}\nCapBnd:\t{bounding}\n"


EVERYTHING = containers.capabilities(status("systemd", "1", ALL))


def test_the_hosts_own_affairs_are_withheld() -> None:
    assert len(EVERYTHING) == 38 - len(HOSTS_OWN)
    assert {"CHOWN", "SYS_ADMIN", "NET_ADMIN", "SYS_RESOURCE", "AUDIT_READ"} <= set(EVERYTHING)
    assert not HOSTS_OWN & set(EVERYTHING)


def test_what_the_engine_lacks_cannot_be_given() -> None:
    processes = status("systemd", "1", ALL) + status("dockerd", "512", NO_SYS_RESOURCE)
    expected = [name for name in EVERYTHING if name != "SYS_RESOURCE"]
    assert containers.capabilities(processes) == expected


def test_without_a_visible_engine_the_first_process_counts() -> None:
    processes = status("init", "1", NO_SYS_RESOURCE) + status("bash", "7", ALL)
    assert "SYS_RESOURCE" not in containers.capabilities(processes)


def test_engines_inside_of_other_labs_do_not_count() -> None:
    processes = status("systemd", "1", ALL) + status("dockerd", "600\t44", "0000000000000000")
    assert containers.capabilities(processes) == EVERYTHING


def test_a_process_name_may_have_spaces() -> None:
    processes = status("systemd", "1", ALL) + status("Web Content 2", "9", "0000000000000000")
    assert containers.capabilities(processes) == EVERYTHING


@pytest.mark.parametrize("name", ["lab", "a", "test-1", "x2"])
def test_good_names(name: str) -> None:
    assert model.check_name(name) == name


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "a--b", "lab-", "a.b", "a/b", "a" * 31, "é"])
def test_bad_names_are_the_operators_mistake(name: str) -> None:
    with pytest.raises(OperatorError, match="cannot be the name of a lab"):
        model.check_name(name)


def test_ports_are_the_same_for_the_same_lab_and_free() -> None:
    first = containers.free_ports("some-lab")
    assert containers.free_ports("some-lab") == first
    assert all(20000 <= port < 32000 for port in first)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first[0]))
        taken.listen()
        assert first[0] not in containers.free_ports("some-lab")
    assert not set(first) & set(containers.free_ports("some-lab", first))


def test_the_key_is_kept_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert model.folder("lab") == tmp_path / "ronron" / "labs" / "lab"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model.folder("lab") == tmp_path / ".local" / "share" / "ronron" / "labs" / "lab"


def test_names_in_a_lab() -> None:
    server = LabServer("manager", "manager.lab.localhost", "c", "192.0.2.1", True, None)
    lab = Lab("lab", (server,), True, "192.0.2.2", "", "", 20000, 20001, Path("key"), True)
    assert lab.domain == "lab.localhost"
    assert lab.acme_directory == "https://acme.lab.localhost:14000/dir"
    assert lab.server("manager") is server
    with pytest.raises(OperatorError, match=r"no server worker-9 \(it has manager"):
        lab.server("worker-9")
    assert model.server_names(3) == ["manager", "worker-1", "worker-2"]
