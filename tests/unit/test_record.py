"""The records of what was last deployed: what goes in comes out, of the swarm too."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ronron.swarm import record, spec
from ronron.swarm.engines import engine_of
from ronron.swarm.stacks import keep
from swarm_api import Engine, config, recorded, secret, served, service

texts = st.text(max_size=20)


@given(texts, st.dictionaries(texts, texts, max_size=3), st.integers(1, 10**6))
def test_what_goes_into_the_swarm_comes_out(
    stack: str, specs: dict[str, str], revision: int
) -> None:
    about = {"by": "me@desk", "app": {"recipe": "hello"}}
    made = record.make(
        "blog", revision, stack=stack, stack_digest="0" * 12, specs=specs, about=about
    )
    read = record.parse(recorded(made))
    assert read is not None
    assert read.content == {**about, "stack": stack, "specs": specs}
    assert (read.app, read.revision, read.name) == ("blog", revision, f"ronron.blog.{revision}")
    assert (read.stack_digest, read.specs_digest) == ("0" * 12, spec.digest(specs))
    assert read.data == made.data


def test_another_config_is_no_record() -> None:
    assert record.parse(config("blog_settings_1", {"ronron.app": "blog"})) is None
    assert record.parse({"ID": "x", "Spec": {"Name": "by-hand", "Labels": None}}) is None


def stack(digest: str, *names: str) -> str:
    """A stack's text that needs these configs and secrets."""
    configs = {name: {"external": True, "name": f"blog_{name}_{digest}"} for name in names}
    return json.dumps({"services": {}, "configs": configs, "secrets": {"pw": {"name": "blog_pw"}}})


def kept(engine: Engine, digest: str, text: str) -> record.Record:
    with served(engine) as runner, engine_of(runner) as client:
        return keep(client, "blog", text, digest, {"by": "me"})


def engine() -> Engine:
    return Engine(services=[service("blog", "web", env=["A=1"])])


def test_the_same_again_is_not_recorded_again() -> None:
    found = engine()
    first = kept(found, "a", stack("a"))
    assert first.revision == 1
    assert json.loads(first.content["specs"]["web"])["Name"] == "blog_web"
    assert kept(found, "a", stack("a")).id
    assert len(found.configs) == 1
    assert kept(found, "b", stack("b")).revision == 2
    found.services[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=2"]
    assert kept(found, "b", stack("b")).revision == 3, "the swarm made something else of it"


def test_what_no_kept_revision_needs_is_removed() -> None:
    found = engine()
    found.secrets = [
        secret("blog_pw", {"ronron.app": "blog"}),
        secret("blog_pw_old", {"ronron.app": "blog"}),
        secret("shop_pw", {"ronron.app": "shop"}),
        secret("by_hand"),
    ]
    for number in range(1, record.KEPT + 3):
        found.configs.append(config(f"blog_page_{number}", {"ronron.app": "blog"}))
        kept(found, str(number), stack(str(number), "page"))
    left = range(3, record.KEPT + 3)
    names = {item["Spec"]["Name"] for item in found.configs}
    assert names == {f"blog_page_{n}" for n in left} | {f"ronron.blog.{n}" for n in left}
    assert [item["Spec"]["Name"] for item in found.secrets] == ["blog_pw", "shop_pw", "by_hand"]


def test_of_a_secret_only_the_newest_value_is_kept() -> None:
    found = engine()
    for number in (1, 2):
        found.secrets.append(secret(f"blog_pw_{number}", {"ronron.app": "blog"}))
        text = json.loads(stack(str(number)))
        text["secrets"] = {"pw": {"external": True, "name": f"blog_pw_{number}"}}
        kept(found, str(number), json.dumps(text))
    assert [item["Spec"]["Name"] for item in found.secrets] == ["blog_pw_2"]
    assert len(found.configs) == 2, "both revisions are"


def test_what_a_stopping_task_still_uses_stays_until_next_time() -> None:
    found = engine()
    found.configs.append(config("blog_page_1", {"ronron.app": "blog"}))
    found.refusals[("DELETE", "/configs/")] = 400
    assert kept(found, "2", stack("2")).revision == 1
    found.refusals.clear()
    kept(found, "3", stack("3"))
    assert {item["Spec"]["Name"] for item in found.configs} == {"ronron.blog.1", "ronron.blog.2"}
