"""The watch: the swarm as figures and targets."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ronron.catalog import guards
from ronron.catalog.recipe import builtin_folder
from ronron.catalog.recipes.monitoring.image import server as exporter
from ronron.catalog.recipes.monitoring.image.watch import engine, swarm
from ronron.catalog.recipes.monitoring.image.watch.__main__ import (
    Handler,
    Watch,
)
from ronron.catalog.recipes.monitoring.image.watch.engine import unframed
from ronron.catalog.recipes.monitoring.image.watch.swarm import Memory, Swarm
from serving import serving

BLACKBOX = builtin_folder() / "monitoring" / "blackbox.yml"


def node(name: str, state: str = "ready", **manager: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ID": f"id-{name}",
        "Description": {"Hostname": name},
        "Spec": {"Role": "manager" if manager else "worker", "Availability": "active"},
        "Status": {"State": state},
    }
    return found | ({"ManagerStatus": manager} if manager else {})


def service(app: str, name: str, mode: dict[str, Any], **labels: str) -> dict[str, Any]:
    spec = {"Name": f"{app}_{name}", "Labels": {"ronron.app": app, **labels}, "Mode": mode}
    return {"ID": f"{app}_{name}", "Spec": spec}


def task(
    of: str,
    place: str,
    state: str = "running",
    *,
    wanted: str = "running",
    at: int = 1,
    code: int = 0,
) -> dict[str, Any]:
    return {
        "ID": f"{of}-{place}-{at}",
        "ServiceID": of,
        "NodeID": f"id-{place}",
        "DesiredState": wanted,
        "UpdatedAt": f"2026-11-27T08:00:{at:02}Z",
        "Status": {"State": state, "ContainerStatus": {"ContainerID": f"c{at}", "ExitCode": code}},
        "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": [f"10.0.0.{at}/24"]}],
    }


REPLICATED = {"Replicated": {"Replicas": 2}}
NETWORK = {
    "Id": "n1",
    "Name": "blog_default",
    "Driver": "overlay",
    "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]},
}


def seen(*tasks: dict[str, Any], two: str = "ready") -> Swarm:
    web = service("blog", "web", REPLICATED, **{swarm.URL_LABEL: "https://blog.example.org/health"})
    everywhere = service("monitoring", "node", {"Global": {}})
    aside = {"ID": "d", "Spec": {"Name": "drill_web", "Labels": {}, "Mode": REPLICATED}}
    nodes = (node("one", Reachability="reachable"), node("two", two))
    return Swarm(nodes, (web, everywhere, aside), tasks, (NETWORK,))


def figures(found: Swarm, memory: Memory) -> dict[str, float]:
    return {
        f"{name} {' '.join(value for key, value in labels.items() if key != 'id')}".strip(): value
        for name, labels, value in swarm.samples(found, memory)
    }


def test_a_service_is_counted_and_named_with_where_it_runs() -> None:
    memory = Memory()
    found = seen(task("blog_web", "one"), task("blog_web", "two", "starting", at=2))
    memory.learn(found)
    values = figures(found, memory)
    assert values["ronron_service_replicas_wanted blog web one"] == 2
    assert values["ronron_service_replicas_running blog web one"] == 1
    assert not [name for name in values if "drill" in name]
    assert values["ronron_task_info blog web one"] == 1
    assert values["ronron_server_ready one manager"] == 1
    assert values["ronron_manager_reachable one"] == 1
    # Two tasks, and an address for each of the two servers.
    assert values["ronron_network_addresses_used blog_default"] == 4
    assert values["ronron_network_addresses_total blog_default"] == 253


def test_a_service_that_stopped_is_still_named_with_where_it_ran() -> None:
    memory = Memory()
    memory.learn(seen(task("blog_web", "two")))
    gone = seen(two="down")
    memory.learn(gone)
    values = figures(gone, memory)
    assert values["ronron_service_replicas_running blog web two"] == 0
    assert values["ronron_server_ready two worker"] == 0
    assert swarm.pages(gone, memory) == [
        {
            "targets": ["https://blog.example.org/health"],
            "labels": {"app": "blog", "service": "web", "server": "two", "__module": "page"},
        }
    ]


def test_an_app_that_refuses_strangers_is_asked_as_one_that_does() -> None:
    found = seen()
    (service,) = (one for one in found.services if one["Spec"]["Name"] == "blog_web")
    labels = {**service["Spec"]["Labels"], guards.REFUSALS_LABEL: "401_403"}
    guarded = {**service, "Spec": {**service["Spec"], "Labels": labels}}
    (page,) = swarm.pages(replace(found, services=(guarded,)), Memory())
    modules = yaml.safe_load(BLACKBOX.read_text().replace("{{", "#").replace("}}", ""))["modules"]
    assert {401, 403} < set(modules[page["labels"]["__module"]]["http"]["valid_status_codes"])
    assert {"page_401", "page_403"} < set(modules)


def test_failures_are_counted_once_and_old_ones_not() -> None:
    memory = Memory()
    old = task("blog_web", "one", "failed", wanted="shutdown", at=1)
    memory.learn(seen(old))
    killed = task("blog_web", "one", "failed", wanted="shutdown", at=2, code=137)
    for _ in range(2):
        memory.learn(seen(old, killed))
    memory.learn(seen(killed, task("blog_web", "one", "failed", wanted="shutdown", at=3, code=1)))
    assert memory.failed == {"blog_web": 2}
    assert memory.killed == {"blog_web": 1}
    unhealthy = task("blog_web", "one", "failed", wanted="shutdown", at=4, code=137)
    unhealthy["Status"]["Err"] = "task: non-zero exit (137): dockerexec: unhealthy container"
    memory.learn(seen(unhealthy, task("blog_web", "one", "complete", wanted="shutdown", at=5)))
    assert memory.failed == {"blog_web": 4}
    assert memory.killed == {"blog_web": 1}


def test_an_exporter_is_found_on_every_server_by_its_name() -> None:
    found = seen(task("monitoring_node", "one", at=3), task("monitoring_node", "two", at=4))
    assert swarm.exporters(found, "monitoring_node", 9100) == [
        {"targets": ["10.0.0.3:9100"], "labels": {"server": "one"}},
        {"targets": ["10.0.0.4:9100"], "labels": {"server": "two"}},
    ]


def test_figures_are_written_in_prometheus_format() -> None:
    samples = [
        swarm.Sample("a", {"x": 'say "hi"\n'}, 0.5),
        swarm.Sample("b", {}, 1795766400),
    ]
    assert swarm.text(samples) == 'a{x="say \\"hi\\"\\n"} 0.5\nb{} 1795766400\n'


def test_log_frames_become_lines() -> None:
    def frame(text: bytes) -> bytes:
        return b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text

    raw = frame(b"one\ntw") + frame(b"o\x1b[0m\n\n")
    assert unframed(io.BytesIO(raw), 9) == ["one", "two[0m"]
    assert unframed(io.BytesIO(raw), 1) == ["o[0m"]


def test_every_host_of_an_app_has_a_certificate_to_look_at() -> None:
    web = service(
        "blog", "web", REPLICATED,
        **{
            "traefik.http.routers.blog.rule": "Host(`blog.example.org`) && PathPrefix(`/`)",
            "traefik.http.routers.blog_more.rule": "Host(`a.example.org`, `b.example.org`)",
            "traefik.http.routers.blog_any.rule": "HostRegexp(`.+`)",
            "traefik.http.routers.blog.middlewares": "Host(`no.example.org`)",
        },
    )  # fmt: skip
    assert swarm.domains(replace(seen(), services=(web,))) == {
        "blog.example.org": "blog",
        "a.example.org": "blog",
        "b.example.org": "blog",
    }


class PretendedManager(ThreadingHTTPServer):
    """Answers as the Engine API does behind the socket proxy; `asked` is what it was asked for."""

    def __init__(self) -> None:
        manager = self
        self.asked: list[str] = []
        frames = b"".join(
            b"\x01\0\0\0" + len(line).to_bytes(4, "big") + line
            for line in (b"one\n", b"two\n", b"three\n")
        )
        self.answers = {
            "/nodes": json.dumps([node("one", Reachability="reachable")]).encode(),
            "/services": json.dumps([service("blog", "web", {"Replicated": {}})]).encode(),
            "/tasks": json.dumps([task("blog_web", "one")]).encode(),
            "/networks": json.dumps([{"Id": "n", "Name": "blog"}]).encode(),
            "/services/blog_web/logs": frames,
        }

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                manager.asked.append(self.path)
                content = manager.answers.get(self.path.partition("?")[0])
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answers)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedManager]:
    with serving(PretendedManager()) as server:
        monkeypatch.setattr(engine, "BASE", f"http://127.0.0.1:{server.server_port}")
        yield server


def get(url: str) -> tuple[int, str]:
    address, _, path = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_swarm_is_read_from_the_manager(manager: PretendedManager) -> None:
    found = engine.read()
    assert found.servers == {"id-one": "one"}
    assert [item["ID"] for item in found.services] == ["blog_web"]
    assert [item["ServiceID"] for item in found.tasks] == ["blog_web"]
    assert [item["Name"] for item in found.networks] == ["blog"]
    # Overlays alone: those of each server are not the swarm's.
    assert "/networks?filters=%7B%22scope%22%3A%5B%22swarm%22%5D%7D" in manager.asked


def test_the_last_lines_of_a_service_are_those_and_none_is_no_fault(
    manager: PretendedManager,
) -> None:
    assert engine.last_lines("blog_web", 2) == ["two", "three"]
    assert engine.last_lines("gone/../nodes", 2) == []
    assert manager.asked[-1].startswith("/services/gone%2F..%2Fnodes/logs?")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The watch's own server, as Prometheus reaches it."""
    monkeypatch.setattr(Handler, "watch", Watch(), raising=False)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_without_an_answer_of_the_manager_prometheus_is_told_so(
    served: str, manager: PretendedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP", "monitoring")
    del manager.answers["/tasks"]
    assert get(f"{served}/metrics") == (200, "ronron_swarm_up{} 0\n")
    status, text = get(f"{served}/targets/node")
    assert (status, text.startswith("the manager does not answer: ")) == (503, True)
    manager.answers["/tasks"] = b"[]"
    assert get(f"{served}/targets/node") == (200, "[]")
    assert "ronron_swarm_up{} 1\n" in get(f"{served}/metrics")[1]
    assert get(f"{served}/targets/nothing")[0] == 404
    assert get(f"{served}/health") == (200, "ok\n")


def test_the_last_errors_of_a_server_come_from_its_own_exporter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exporter, "METRICS", tmp_path)
    (tmp_path / "journal").write_text("kernel: I/O error\nsmartd: failing\n")
    watch = Watch()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), exporter.Handler)) as server:
        places = {"one": f"127.0.0.1:{server.server_port}", "gone": "127.0.0.1:1"}
        targets = [{"targets": [at], "labels": {"server": name}} for name, at in places.items()]
        monkeypatch.setattr(watch, "exporters", lambda path: targets)
        assert watch.errors("one") == ["kernel: I/O error", "smartd: failing"]
        assert watch.errors("gone") == watch.errors("unknown") == []
        (tmp_path / "journal").unlink()
        assert watch.errors("one") == []
