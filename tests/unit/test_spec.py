"""Specifications as fields: what a plan compares, and what it hides."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ronron.swarm import spec
from swarm_api import service

names = st.sampled_from(["a", "b", "image", "X_1", "environment", "labels", "command", "ports"])
scalars = st.none() | st.booleans() | st.integers() | st.text("ab c'\"$", max_size=6)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
stacks = st.dictionaries(names, trees, max_size=4)


def applied(before: spec.Flat, changes: list[tuple[str, str | None, str | None]]) -> spec.Flat:
    """`before` with the changes made, each of which must start from what is there."""
    after = dict(before)
    for field, old, new in changes:
        assert after.pop(field, None) == old
        if new is not None:
            after[field] = new
    return after


@given(stacks, stacks)
def test_the_differences_lead_from_one_to_the_other(one: Any, other: Any) -> None:
    before, after = spec.flatten_stack(one), spec.flatten_stack(other)
    changes = list(spec.differences(before, after))
    assert applied(before, changes) == after
    assert list(spec.differences(before, before)) == []
    assert [field for field, _, _ in changes] == sorted({field for field, _, _ in changes})


@given(st.lists(st.text("ab '\"", max_size=5), max_size=4), st.lists(st.text("ab '\"", max_size=5)))
def test_two_commands_never_look_the_same(one: list[str], other: list[str]) -> None:
    assume(one != other and one and other)
    assert spec.flatten_stack({"command": one}) != spec.flatten_stack({"command": other})


SECRET = "correct-horse-battery-staple"
HIDING = st.sampled_from(
    [
        "services.web.environment.DB_PASSWORD",
        "services.web.environment.database__connection__password",
        "services.web.environment.mail__options__auth__pass",
        "environment.SECRET_KEY_BASE",
        "environment.GITHUB_TOKEN",
        "environment.AWS_SECRET_ACCESS_KEY",
        "environment.PGPASSWORD",
        "environment.API_KEY",
        "labels.traefik.http.middlewares.me.basicauth.users",
        "container_labels.some.password",
    ]
)
INSIDE = st.sampled_from(
    [
        "postgres://blog:{}@db/blog",
        "amqp://a:{}@x:5672,amqp://a:{}@y:5672",
        "redis-server --requirepass {}",
        "run --password={} --fast",
        "run --token '{} and more'",
    ]
)


@given(HIDING, st.sampled_from([None, SECRET, "another"]), st.sampled_from([None, SECRET]))
def test_no_secret_is_shown(field: str, old: str | None, new: str | None) -> None:
    before, after = ({field: value} if value else {} for value in (old, new))
    shown = list(spec.differences(before, after))
    assert SECRET not in repr(shown)
    assert bool(shown) == (old != new), "that it changed is shown"
    for _, was, will in shown:
        assert (was is None, will is None) == (old is None, new is None)


@given(INSIDE)
def test_no_password_inside_of_a_value_is_shown(text: str) -> None:
    shown = list(spec.differences({}, {"services.web.command": text.replace("{}", SECRET)}))
    assert SECRET not in repr(shown)
    assert "***" in repr(shown)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("environment.DB_PASSWORD_FILE", "/run/secrets/db_password"),
        ("services.web.secrets", "db_password"),
        ("secrets.db_password.name", "blog_db_password_0123456789"),
        ("secrets.blog_db_password_0123456789", "db_password"),
        ("environment.URL", "https://blog.example.org:8443/a:b"),
        ("labels.traefik.http.routers.blog.rule", "Host(`blog.example.org`)"),
    ],
)
def test_what_is_no_secret_is_shown(field: str, value: str) -> None:
    assert list(spec.differences({}, {field: value})) == [(field, None, value)]


def test_fields_have_the_names_that_an_operator_knows() -> None:
    found = spec.flatten_spec(
        service(
            "blog",
            "web",
            env=["A=1", "B=x=y", "EMPTY="],
            replicas=2,
            Secrets=[{"SecretName": "blog_pw_1", "File": {"Name": "pw"}}],
            Configs=[{"ConfigName": "blog_c_1", "File": {"Name": "/c"}}],
            Command=["sh", "-c", "echo a b"],
        )["Spec"]
    )
    expected = {
        "environment.A": "1",
        "environment.B": "x=y",
        "environment.EMPTY": "",
        "replicas": "2",
        "image": "registry.ronron.internal:5000/hello:1.0",
        "labels.ronron.app": "blog",
        "container_labels.com.docker.stack.namespace": "blog",
        "secrets.blog_pw_1": "pw",
        "configs.blog_c_1": "/c",
        "Command": "sh -c 'echo a b'",
        "Healthcheck.Test": "CMD true",
        "Resources.Limits.MemoryBytes": "67108864",
        "EndpointSpec.Mode": "dnsrr",
        "UpdateConfig.Order": "start-first",
    }
    assert expected.items() <= found.items()
    assert not [key for key in found if "ForceUpdate" in key or "ContainerSpec" in key]


def test_a_global_service_says_so() -> None:
    found = service("blog", "web")["Spec"]
    found["Mode"] = {"Global": {}}
    assert spec.flatten_spec(found)["mode"] == "global"


def test_one_variable_added_by_hand_is_one_field() -> None:
    before, after = (
        spec.flatten_spec(service("blog", "web", env=env)["Spec"])
        for env in (["A=1"], ["A=1", "X=1"])
    )
    assert list(spec.differences(before, after)) == [("environment.X", None, "1")]


def test_lists_of_variables_and_labels_are_compared_by_name() -> None:
    flat = spec.flatten_stack(
        {"services": {"web": {"environment": ["B=2", "A"], "deploy": {"labels": ["x=y=z"]}}}}
    )
    assert flat == {
        "services.web.environment.B": "2",
        "services.web.environment.A": "",
        "services.web.deploy.labels.x": "y=z",
    }


def test_a_restart_is_no_change() -> None:
    one = service("blog", "web")["Spec"]
    other = copy.deepcopy(one)
    other["TaskTemplate"]["ForceUpdate"] = 7
    assert spec.canonical(one) == spec.canonical(other)
    other["TaskTemplate"]["ContainerSpec"]["Env"] = ["X=1"]
    assert spec.canonical(one) != spec.canonical(other)


def test_the_order_of_keys_is_no_change() -> None:
    one = service("blog", "web")["Spec"]
    turned = dict(reversed(list(json.loads(json.dumps(one)).items())))
    assert spec.canonical(one) == spec.canonical(turned)
    assert spec.digest({"a": "1", "b": "2"}) == spec.digest({"b": "2", "a": "1"})
    assert spec.digest({"a": "1"}) != spec.digest({"a": "2"})


def test_a_restart_that_sorts_the_mounts_is_no_drift() -> None:
    data, temporary = {"Target": "/acme", "Source": "acme"}, {"Target": "/tmp", "Type": "tmpfs"}  # noqa: S108

    def service(*mounts: dict[str, str], restarts: int) -> dict[str, Any]:
        return {
            "TaskTemplate": {"ContainerSpec": {"Mounts": [*mounts]}, "ForceUpdate": restarts},
        }

    before = spec.canonical(service(data, temporary, restarts=0))
    assert spec.canonical(service(temporary, data, restarts=1)) == before
    assert spec.canonical(service({**data, "Source": "other"}, temporary, restarts=0)) != before
