"""A rotation killed at any point leaves the app at work, and the next rotation finishes it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ronron.errors import RonronError
from ronron.events import Event, State, ignore
from ronron.plan.rotating import rotate
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key, generate

OLD = {"db_password": "old-db", "db_root_password": "old-root", "session_key": "old-session"}
ALL = dict.fromkeys(OLD)


@dataclass
class Points:
    """Counts the moments around each effect, and kills the process at the one that is chosen."""

    kill_at: int = 0
    passed: int = 0

    def passing(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class WatchedVault(Vault):
    """A vault that passes a point before and after each of its writes."""

    points = Points()

    def write(self, name: str, secrets: Secrets) -> None:
        self.points.passing()
        super().write(name, secrets)
        self.points.passing()


@dataclass
class World:
    """A database and services in a file, which outlives the process. A `Place`.

    A database that is `dual` can take two passwords at once. `refuses` are values that it will
    not have, `breaks` are values with which the services do not work.
    """

    path: Path
    points: Points = field(default_factory=Points)
    dual: bool = True
    refuses: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    stuck: bool = False

    def start(self) -> World:
        accepted = {name: [value] for name, value in OLD.items() if name != "session_key"}
        self._save({"accepted": accepted, "services": OLD})
        return self

    def accept(self, name: str, old: Secret, new: Secret) -> None:
        self._change(name, [new.reveal(), old.reveal()] if self.dual else [new.reveal()])

    def drop(self, name: str, old: Secret, new: Secret) -> None:
        self._change(name, [new.reveal()])

    def go_back(self, name: str, old: Secret, new: Secret) -> None:
        self._change(name, [old.reveal()])

    def run_with(self, secrets: Secrets, names: tuple[str, ...]) -> None:
        for name in names:
            value = secrets.values[name].reveal()
            state = self.state
            self.points.passing()
            self._save({**state, "services": {**state["services"], name: value}})
            self.points.passing()
            if value in self.breaks or self.stuck:
                raise RonronError("blog: web does not start")

    def works(self) -> bool:
        state = self.state
        services = state["services"]
        return all(services[name] in list(known) for name, known in state["accepted"].items())

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        state: dict[str, dict[str, Any]] = json.loads(self.path.read_text())
        return state

    def _change(self, name: str, accepted: list[str]) -> None:
        state = self.state
        if name not in state["accepted"]:
            return
        if set(accepted) & set(self.refuses):
            raise RonronError("the database did not change its password")
        self.points.passing()
        self._save({**state, "accepted": {**state["accepted"], name: accepted}})
        self.points.passing()

    def _save(self, state: object) -> None:
        self.path.with_suffix(".new").write_text(json.dumps(state))
        self.path.with_suffix(".new").replace(self.path)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    key = tmp_path / "key"
    (tmp_path / "recipients.txt").write_text(create_key(key) + "\n")
    vault = Vault(tmp_path, key)
    vault.write("blog", Secrets({name: Secret(value) for name, value in OLD.items()}))
    return vault


def values(secrets: Secrets) -> dict[str, str]:
    return {name: value.reveal() for name, value in secrets.values.items()}


def make(name: str) -> Secret:
    return Secret(f"{name}-{generate(8).reveal()}")


def killed(vault: Vault, world: World, kill_at: int) -> bool:
    """Rotate in another process that is killed at a point; whether it lived so long."""

    def work() -> None:
        watched = WatchedVault(vault.folder, vault.identity_path)
        watched.points = world.points = Points(kill_at)
        rotate(watched, "blog", ALL, make, world, ignore)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == -signal.SIGKILL


def all_points(vault: Vault, world: World) -> Iterator[int]:
    """Every point at which a rotation can be killed; the world is as new at each."""
    before = vault.path("blog").read_bytes()
    for kill_at in range(1, 200):
        vault.path("blog").write_bytes(before)
        world.start()
        if not killed(vault, world, kill_at):
            return
        yield kill_at
    raise AssertionError("it never ended")


def assert_finished(vault: Vault, world: World) -> None:
    secrets = vault.read("blog")
    assert not secrets.pending
    assert not secrets.retired
    assert world.state["services"] == values(secrets)
    assert world.state["accepted"] == {
        name: [value] for name, value in values(secrets).items() if name != "session_key"
    }


def test_a_crash_at_any_point_leaves_the_app_at_work(vault: Vault, tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    count = 0
    for point in all_points(vault, world):
        count += 1
        assert world.works(), point
        # Whichever values the vault has now, a deployment with them works.
        known = vault.read("blog")
        for name, accepted in world.state["accepted"].items():
            assert known.values[name].reveal() in accepted, point
        # Everything that anything works with is in the vault.
        kept = {**known.values, **known.pending}, {**known.values, **known.retired}
        everything = {value.reveal() for stage in kept for value in stage.values()}
        for value in world.state["services"].values():
            assert value in everything, point
        rotate(vault, "blog", ALL, make, world, ignore)
        assert_finished(vault, world)
        assert not set(values(vault.read("blog")).values()) & set(OLD.values()), point
    assert count == 20, "two for each write of the vault, each password, each service"


def test_a_database_of_one_password_is_brought_to_work_by_the_next_rotation(
    vault: Vault, tmp_path: Path
) -> None:
    world = World(tmp_path / "world", dual=False)
    for _ in all_points(vault, world):
        known = vault.read("blog")
        for name, accepted in world.state["accepted"].items():
            both = {known.values[name].reveal(), known.pending.get(name, Secret("")).reveal()}
            assert set(accepted) <= both
        rotate(vault, "blog", ALL, make, world, ignore)
        assert_finished(vault, world)


def test_the_next_rotation_of_one_secret_finishes_those_of_others(
    vault: Vault, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    for point in all_points(vault, world):
        began = vault.read("blog").pending or vault.read("blog").retired
        changed = rotate(vault, "blog", {"session_key": None}, make, world, ignore)
        assert_finished(vault, world)
        assert set(changed) == (set(OLD) if began else {"session_key"}), point


def test_a_value_that_is_given_is_in_force_after_an_interrupted_rotation(
    vault: Vault, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    given = {"db_password": Secret("chosen-by-hand")}
    for _ in all_points(vault, world):
        rotate(vault, "blog", given, make, world, ignore)
        assert_finished(vault, world)
        assert values(vault.read("blog"))["db_password"] == "chosen-by-hand"


def test_nothing_is_done_for_the_value_that_is_there(vault: Vault, tmp_path: Path) -> None:
    world = World(tmp_path / "world").start()
    before = vault.path("blog").read_bytes()
    wanted = {"db_password": Secret("old-db")}
    assert rotate(vault, "blog", wanted, make, world, ignore) == ()
    assert vault.path("blog").read_bytes() == before


@pytest.mark.parametrize("dual", [True, False])
def test_what_the_services_cannot_work_with_is_taken_back(
    vault: Vault, tmp_path: Path, dual: bool
) -> None:
    world = World(tmp_path / "world", dual=dual, breaks=("bad",)).start()
    wanted = {"db_password": Secret("bad"), "session_key": None}
    with pytest.raises(RonronError) as raised:
        rotate(vault, "blog", wanted, make, world, ignore)
    assert str(raised.value) == (
        "blog: db_password, session_key could not be changed: web does not start "
        "(the old values are in force as before)"
    )
    assert values(vault.read("blog")) == OLD
    assert_finished(vault, world)


def test_what_the_database_refuses_is_taken_back(vault: Vault, tmp_path: Path) -> None:
    world = World(tmp_path / "world", refuses=("too simple",)).start()
    wanted = {"db_root_password": None, "db_password": Secret("too simple")}
    with pytest.raises(RonronError, match="could not be changed: the database did not") as raised:
        rotate(vault, "blog", wanted, make, world, ignore)
    assert raised.value.remedy == "the old values are in force as before"
    assert values(vault.read("blog")) == OLD
    assert_finished(vault, world)


def test_services_that_work_with_nothing_keep_both_values(vault: Vault, tmp_path: Path) -> None:
    world = World(tmp_path / "world", stuck=True).start()
    with pytest.raises(RonronError, match="the old values may work or both"):
        rotate(vault, "blog", {"db_password": None}, make, world, ignore)
    assert vault.read("blog").pending
    assert world.works()
    world.stuck = False
    rotate(vault, "blog", {"db_password": None}, make, world, ignore)
    assert_finished(vault, world)


def test_its_steps_are_told_in_their_order(vault: Vault, tmp_path: Path) -> None:
    events: list[Event] = []
    world = World(tmp_path / "world").start()
    rotate(vault, "blog", {"db_password": None}, make, world, events.append)
    assert [event.step for event in events if event.state is State.DONE] == [
        "let both values of db_password work",
        "let the new db_password alone work",
    ]
