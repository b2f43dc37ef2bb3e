"""How an image comes into the site's registry: pulled or built, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ronron.catalog.stack import Image
from ronron.errors import RonronError
from ronron.events import Event, State
from ronron.swarm import images
from ronron.swarm.engines import engine_of
from ronron.swarm.images import Source
from swarm_api import Engine, ManagerRunner, served

BASE = "debian:trixie-slim"
HELLO = Image("web", "hello:1.0", "registry.ronron.internal:5000/hello:1.0-0123456789ab", None)


@pytest.fixture(autouse=True)
def no_local_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def hello(tmp_path: Path) -> Image:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY page /page\n")
    (tmp_path / "page").write_text("hello")
    return Image(HELLO.service, HELLO.upstream, HELLO.reference, tmp_path)


@pytest.fixture
def engine() -> Engine:
    return Engine(images={BASE: "sha256:base"})


@pytest.fixture
def manager(engine: Engine) -> Iterator[ManagerRunner]:
    with served(engine) as runner:
        yield runner


def supply(
    manager: ManagerRunner, *wanted: Image, source: Source = "auto", push: bool = True
) -> list[str]:
    """Supply the images; returns the steps that were done."""
    told: list[Event] = []
    with engine_of(manager) as client:
        images.supply(client, manager, wanted, source=source, push=push, report=told.append)
    return [item.step for item in told if item.state is State.DONE]


def test_an_image_that_a_registry_offers_is_pulled_and_pushed(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    engine.pullable = {"hello:1.0"}
    assert supply(manager, hello) == ["image hello:1.0", "push hello:1.0 to the registry"]
    assert engine.images[hello.reference] == engine.images["hello:1.0"]
    assert engine.pullable == {"hello:1.0", hello.reference}
    assert engine.built == {}


def test_an_image_that_nobody_offers_is_built(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    steps = supply(manager, hello)
    assert steps[-2:] == ["image hello:1.0", "push hello:1.0 to the registry"]
    assert {"Dockerfile", "page"} <= set(engine.built[hello.reference])
    assert engine.pullable == {hello.reference}


def test_what_is_there_is_neither_pulled_nor_built(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    engine.images[hello.reference] = "sha256:here"
    assert supply(manager, hello) == ["push hello:1.0 to the registry"]
    assert supply(manager, hello, push=False) == []
    assert engine.images[hello.reference] == "sha256:here"


def test_the_platforms_images_are_not_pushed(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    supply(manager, hello, push=False)
    assert hello.reference in engine.images
    assert engine.pullable == set()


def test_the_source_is_the_operators_choice(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    engine.pullable = {"hello:1.0"}
    supply(manager, hello, source="build")
    assert list(engine.built) == [hello.reference]
    engine.images, engine.pullable = {BASE: "sha256:base"}, set()
    with pytest.raises(RonronError, match=r"hello:1\.0: no registry that answers has it \("):
        supply(manager, hello, source="pull")
    assert hello.reference not in engine.images


def test_an_image_that_is_nowhere_is_an_error_with_a_remedy(manager: ManagerRunner) -> None:
    with pytest.raises(RonronError, match="no Dockerfile is known for it") as caught:
        supply(manager, HELLO)
    assert "check the name and the tag" in caught.value.remedy


def test_a_registry_that_refuses_is_told(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    engine.images[hello.reference] = "sha256:here"

    def lose(method: str, path: str) -> None:
        if path.endswith("/push"):
            engine.images.clear()

    engine.before = lose
    with pytest.raises(RonronError, match=r"the registry refused it: .* is not here"):
        supply(manager, hello)


def test_the_operators_own_engine_builds_and_sends(
    engine: Engine, manager: ManagerRunner, hello: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Engine(images={BASE: "sha256:base"}, id="desk")
    with served(here) as desk:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{desk.engine_socket}")
        supply(manager, hello)
    assert list(here.built) == [hello.reference]
    assert engine.built == {}
    assert engine.images[hello.reference] == here.images[hello.reference]
    assert engine.pullable == {hello.reference}


def test_an_engine_does_not_send_to_itself(
    engine: Engine, manager: ManagerRunner, hello: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{manager.engine_socket}")
    supply(manager, hello)
    assert not [path for _, path in engine.asked if path.endswith(("/get", "/load"))]


def test_what_the_registry_lacks_is_asked_once_for_each_image(
    engine: Engine, manager: ManagerRunner, hello: Image
) -> None:
    other = Image("db", "mariadb:11", "registry.ronron.internal:5000/mariadb:11", None)
    engine.pullable = {other.reference}
    with engine_of(manager) as client:
        assert images.missing(client, [hello, hello, other]) == [hello]
    assert len([path for _, path in engine.asked if path.startswith("/distribution/")]) == 2
