"""The swarm's state, read from the Engine API's lists."""

from __future__ import annotations

from typing import Any

from ronron.swarm import record, spec, state
from ronron.swarm.engines import engine_of
from swarm_api import Engine, config, network, node, recorded, secret, served, service


def made(app: str, revision: int) -> dict[str, Any]:
    return recorded(
        record.make(app, revision, stack="{}", stack_digest="0", specs={}, about={"n": revision})
    )


def test_everything_is_found_by_its_app() -> None:
    web, foreign = service("blog", "web"), service("other", "web")
    foreign["Spec"]["Labels"] = {"com.docker.stack.namespace": "other"}
    pretending = service("blog", "db")
    pretending["Spec"]["Labels"]["com.docker.stack.namespace"] = "other"
    engine = Engine(
        nodes=[node("manager", role="manager", labels={"ronron.storage": "true"})],
        services=[web, foreign, pretending],
        configs=[made("blog", 10), made("blog", 9), config("blog_c_1", {"ronron.app": "blog"})],
        secrets=[secret("shop_pw", {"ronron.app": "shop"}), secret("by_hand")],
        networks=[network("ronron_proxy", "10.90.0.0/16", {"encrypted": "true"})],
    )
    with served(engine) as runner, engine_of(runner) as client:
        found = state.observe(client)
    assert found.present
    assert found.services == {"blog": {"web": spec.canonical(web["Spec"])}}
    assert [item.revision for item in found.records["blog"]] == [9, 10], "by number, oldest first"
    newest = found.newest("blog")
    assert newest is not None
    assert newest.content["n"] == 10
    assert found.newest("shop") is None
    assert found.configs == {"blog": {"blog_c_1"}}
    assert found.secrets == {"shop": {"shop_pw"}}
    assert found.apps == {"blog", "shop"}
    assert found.networks == {"ronron_proxy": {"encrypted": "true", "subnet": "10.90.0.0/16"}}


def test_a_node_that_is_ready_comes_before_a_dead_one_of_the_same_name() -> None:
    old = node("worker", state="down", id="old", labels={"ronron.volume.blog.data": "true"})
    new = node("worker", id="new", role="manager")
    found = state.from_api(nodes=[old, new], services=[], configs=[], secrets=[], networks=[])
    ready = found.node("worker")
    assert ready is not None
    assert (ready.id, ready.role, ready.leader, ready.ready) == ("new", "manager", True, True)
    assert found.node("nobody") is None
    assert [item.id for item in found.with_label("ronron.volume.blog.data")] == ["old"]
    assert found.with_label("ronron.volume.blog") == ()


def test_what_the_api_leaves_out_or_says_null_is_nothing() -> None:
    bare = node("manager")
    bare["Spec"]["Labels"] = None
    item = service("blog", "web")
    item["Spec"]["Labels"] = None
    overlay = network("x", "", {})
    overlay |= {"Options": None, "IPAM": {"Config": None}}
    found = state.from_api(
        nodes=[bare], services=[item], configs=[], secrets=[], networks=[overlay]
    )
    assert found.nodes[0].labels == {}
    assert found.services == {}
    assert found.networks == {"x": {"subnet": ""}}


def test_no_swarm_is_an_empty_state() -> None:
    empty = state.SwarmState()
    assert (empty.present, empty.apps, empty.nodes) == (False, set(), ())


def test_a_service_is_called_by_its_own_name() -> None:
    assert state.short_name("blog_web", "blog") == "web"
    assert state.short_name("blog_blog_web", "blog") == "blog_web"
    assert state.fields(spec.canonical(service("blog", "web")["Spec"]))["replicas"] == "1"
