"""A server's own figures: containers, network, what its jobs leave, upgrades, bans."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from ronron.catalog.recipes.monitoring.image import server
from ronron.servers.provision import contents, figures

ID = "ab" * 32


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_containers_of_control_groups_of_version_2(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / f"docker-{ID}.scope"
    write(group / "cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    write(group / "memory.current", "3000\n")
    write(group / "memory.stat", "anon 1\ninactive_file 1000\n")
    write(group / "memory.max", "max\n")
    write(group / "memory.events", "oom 3\noom_kill 2\n")
    assert list(server.unified(tmp_path)) == [
        f'container_cpu_usage_seconds_total{{id="{ID}"}} 2.5',
        f'container_memory_working_set_bytes{{id="{ID}"}} 2000',
        f'container_oom_events_total{{id="{ID}"}} 2',
    ]


def test_containers_of_control_groups_of_version_1(tmp_path: Path) -> None:
    write(tmp_path / "cpuacct/docker" / ID / "cpuacct.usage", "1500000000\n")
    memory = tmp_path / "memory/docker" / ID
    write(memory / "memory.usage_in_bytes", "3000\n")
    write(memory / "memory.stat", "total_inactive_file 4000\n")
    write(memory / "memory.limit_in_bytes", "67108864\n")
    write(memory / "memory.oom_control", "oom_kill_disable 0\noom_kill 1\n")
    assert list(server.legacy(tmp_path)) == [
        f'container_cpu_usage_seconds_total{{id="{ID}"}} 1.5',
        f'container_memory_working_set_bytes{{id="{ID}"}} 0',
        f'container_spec_memory_limit_bytes{{id="{ID}"}} 67108864',
        f'container_oom_events_total{{id="{ID}"}} 1',
    ]


def test_network_without_containers_interfaces(tmp_path: Path) -> None:
    rows = (
        "a\nb\n    lo: 1 0 0 0 0 0 0 0 1 0\n  eth0: 7 0 0 0 0 0 0 0 9 0\nvetha: 1 0 0 0 0 0 0 0 1"
    )
    write(tmp_path / "1/net/dev", rows)
    assert list(server.network(tmp_path)) == [
        'server_network_receive_bytes_total{device="eth0"} 7',
        'server_network_transmit_bytes_total{device="eth0"} 9',
    ]


def test_a_line_that_is_no_figure_spoils_no_other(tmp_path: Path) -> None:
    write(tmp_path / "backup.prom", '# HELP a b\na{app="x y"} 1\nnonsense\nb 2.5\n\n')
    found = list(server.left(tmp_path))
    assert found[:3] == ["# HELP a b", 'a{app="x y"} 1', "b 2.5"]
    assert found[3].startswith('server_metrics_file_changed_seconds{file="backup"} ')


def test_upgrades_that_wait_are_counted() -> None:
    simulated = (
        "NOTE: This is only a simulation!\n"
        "Inst libssl3 [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])\n"
        "Inst vim [1] (2 Debian:13.8/stable [amd64])\n"
        "Conf vim (2 Debian:13.8/stable [amd64])\n"
    )
    assert list(figures.upgrades(simulated)) == [
        'server_upgrades_pending{kind="all"} 2',
        'server_upgrades_pending{kind="security"} 1',
    ]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_a_kernels_upgrade_is_counted_which_needs_a_new_package(tmp_path: Path) -> None:
    def package(name: str, version: str, *more: str) -> str:
        fields = (f"Package: {name}", f"Version: {version}", "Architecture: all", *more)
        return "\n".join((*fields, "Maintainer: a", "Description: a", "\n"))

    described = ("Filename: ./a.deb", "Size: 1", f"SHA256: {'0' * 64}")
    installed = "Status: install ok installed"
    write(
        tmp_path / "debian-security/Packages",
        package("linux-image", "2", "Depends: linux-2", *described)
        + package("linux-2", "2", *described),
    )
    write(
        tmp_path / "debian-security/Release",
        "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\n",
    )
    write(
        tmp_path / "status",
        package("linux-image", "1", installed, "Depends: linux-1")
        + package("linux-1", "1", installed),
    )
    write(tmp_path / "sources.list", f"deb [trusted=yes] file:{tmp_path}/debian-security ./\n")
    write(
        tmp_path / "apt.conf",
        f'Dir::State "{tmp_path}/state";\nDir::State::status "{tmp_path}/status";\n'
        f'Dir::Cache "{tmp_path}/cache";\nDir::Etc "{tmp_path}";\nAPT::Sandbox::User "";\n',
    )
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (tmp_path / folder).mkdir(parents=True)

    def run(*argv: str) -> str:
        environment = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("apt-get", "update")
    assert list(figures.upgrades(run(*figures.SIMULATED))) == [
        'server_upgrades_pending{kind="all"} 2',
        'server_upgrades_pending{kind="security"} 2',
    ]


def test_bans_of_the_last_ten_minutes_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "fail2ban.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE bans (jail TEXT, ip TEXT, timeofban INTEGER)")
        rows = [
            ("sshd", "192.0.2.1", 1000),
            ("sshd", "192.0.2.2", 1500),
            ("sshd", "192.0.2.3", 1600),
        ]
        database.executemany("INSERT INTO bans VALUES (?, ?, ?)", rows)
        database.commit()
    assert list(figures.bans(path, 1650.0)) == ["server_bans_recent 2"]
    assert list(figures.bans(tmp_path / "none", 1650.0)) == []


def test_docker_s_own_figures_are_taken_without_buckets() -> None:
    text = (
        "# HELP engine_daemon_events_total The number of events logged\n"
        "engine_daemon_events_total 7\n"
        'engine_daemon_container_actions_seconds_bucket{action="start",le="1"} 1\n'
        'engine_daemon_container_actions_seconds_count{action="start"} 1\n'
        "swarm_manager_leader 1\n"
        "go_goroutines 9\n"
    )
    assert list(figures.engine(text)) == [
        "engine_daemon_events_total 7",
        'engine_daemon_container_actions_seconds_count{action="start"} 1',
        "swarm_manager_leader 1",
    ]
    assert f"http://{contents.FIGURES}/metrics" == figures.DOCKER


def test_log_lines_that_wait_are_told_where_they_are_sent(tmp_path: Path) -> None:
    assert list(figures.spooled(tmp_path / "none")) == []
    write(tmp_path / "spool/app.00000001", "x" * 700)
    write(tmp_path / "spool/journal", "x" * 100)
    # As one that rsyslog deletes after the folder was listed.
    (tmp_path / "spool/app.00000002").symlink_to(tmp_path / "gone")
    assert list(figures.spooled(tmp_path / "spool")) == ["server_logs_waiting_bytes 800"]


def test_the_last_errors_of_a_server_are_those_that_no_container_wrote() -> None:
    def line(second: int, **fields: object) -> str:
        return json.dumps({"__REALTIME_TIMESTAMP": f"{1795766400 + second}000000", **fields})

    newest_first = [
        line(9, MESSAGE="in a container", CONTAINER_ID="c"),
        line(8, MESSAGE=[0, 255], SYSLOG_IDENTIFIER="binary"),
        *(line(n, MESSAGE=f"number\t{n}", SYSLOG_IDENTIFIER="kernel") for n in range(7, 0, -1)),
    ]
    found = figures.mistakes("\n".join(newest_first))
    assert found == [f"2026-11-27 08:00:0{n} UTC kernel: number {n}" for n in range(3, 8)]
    assert figures.mistakes("") == []


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="needs journalctl")
def test_journalctl_takes_the_question() -> None:
    done = subprocess.run(figures.JOURNAL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    figures.mistakes(done.stdout)
