"""Waiting for services: when an app runs as asked, and what is said when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from ronron.events import Event, ignore
from ronron.swarm import converge
from ronron.swarm.converge import NotConverged, last_lines, progress, wait
from ronron.swarm.engines import engine_of
from swarm_api import Engine, node, served, service, task

MANAGER = node("manager", role="manager")


def engine(*tasks: dict[str, Any], of: dict[str, Any], **more: Any) -> Engine:
    return Engine(nodes=[MANAGER], services=[of], tasks=list(tasks), **more)


def failure(found: Engine, seconds: float = 0.0) -> NotConverged:
    with (
        served(found) as runner,
        engine_of(runner) as client,
        pytest.raises(NotConverged) as caught,
    ):
        wait(client, "blog", seconds, ignore)
    return caught.value


def test_only_running_tasks_of_the_present_version_count() -> None:
    web = service("blog", "web", replicas=2)
    tasks = [
        task(web, "running"),
        task(web, "running", desired="shutdown"),
        task(web, "starting"),
        task(web, "running", Env=["OLD=1"]),
    ]
    found = progress(web, tasks, 1)
    assert (found.service, found.running, found.wanted, found.done) == ("web", 1, 2, False)
    assert progress(web, [*tasks, task(web, "running")], 1).done


def test_a_task_with_other_resources_is_of_an_older_version() -> None:
    web = service("blog", "web")
    old = task(web, "running")
    web["Spec"]["TaskTemplate"]["Resources"] = {"Limits": {"MemoryBytes": 1 << 30}}
    assert progress(web, [old], 1).running == 0
    assert progress(web, [old, task(web, "running")], 1).done


def test_a_restart_is_over_when_the_new_tasks_run() -> None:
    web = service("blog", "web")
    old = task(web, "running")
    web["Spec"]["TaskTemplate"]["ForceUpdate"] = 1
    assert not progress(web, [old], 1).done


def test_a_global_service_runs_on_every_node() -> None:
    web = service("blog", "web")
    web["Spec"]["Mode"] = {"Global": {}}
    assert progress(web, [task(web, "running")], 2).wanted == 2


@pytest.mark.parametrize(
    ("mode", "condition", "done"),
    [
        ({"Replicated": {"Replicas": 1}}, "any", False),
        ({"Replicated": {"Replicas": 1}}, "on-failure", True),
        ({"Replicated": {"Replicas": 1}}, "none", True),
        ({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}, "any", True),
        ({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 2}}, "any", False),
    ],
)
def test_a_task_that_runs_once_is_done_when_it_ended_well(
    mode: dict[str, Any], condition: str, done: bool
) -> None:
    web = service("blog", "migrate")
    web["Spec"]["Mode"] = mode
    web["Spec"]["TaskTemplate"]["RestartPolicy"] = {"Condition": condition}
    assert progress(web, [task(web, "complete", desired="shutdown")], 3).done is done
    assert not progress(web, [task(web, "failed", desired="shutdown")], 3).done


@pytest.mark.parametrize(
    ("update", "done"),
    [("", True), ("completed", True), ("updating", False), ("rollback_started", False)],
)
def test_a_service_is_done_when_its_update_is(update: str, done: bool) -> None:
    web = service("blog", "web", update=update)
    assert progress(web, [task(web, "running")], 1).done is done


def test_a_service_that_nobody_wants_is_done_without_tasks() -> None:
    assert progress(service("blog", "web", replicas=0), [], 1).done


def test_the_newest_error_is_told() -> None:
    web = service("blog", "web")
    tasks = [
        task(web, "failed", desired="shutdown", error="newer", at="2026-11-20T10:00:02Z"),
        task(web, "rejected", desired="shutdown", error="older", at="2026-11-20T10:00:01Z"),
        task(web, "pending", error="no suitable node"),
    ]
    found = progress(web, tasks, 1)
    assert (found.error, found.failed) == ("newer", 2)
    assert progress(web, tasks[2:], 1).error == "no suitable node"


def test_waiting_ends_when_all_services_run_and_tells_of_each() -> None:
    web, db = service("blog", "web"), service("blog", "db")
    found = Engine(nodes=[MANAGER], services=[web, db], tasks=[task(web, "running")])

    def start(method: str, path: str) -> None:
        if [path for _, path in found.asked].count("/services") == 2:
            found.tasks = [task(web, "running"), task(db, "running")]

    found.before = start
    told: list[Event] = []
    with served(found) as runner, engine_of(runner) as client:
        wait(client, "blog", 10, told.append)
    assert [item.detail for item in told] == ["web 1/1", "db 0/1", "db 1/1"]


def test_an_app_without_services_never_runs() -> None:
    other = service("shop", "web")
    error = failure(engine(task(other, "running"), of=other))
    assert "not all services ran within 0 s: none was found" in str(error)


def test_the_time_is_over_and_the_service_that_does_not_run_is_shown() -> None:
    web, db = service("blog", "web"), service("blog", "db")
    found = Engine(nodes=[MANAGER], services=[db, web], tasks=[task(db, "running")])
    found.tasks.append(task(web, "pending", error="no suitable node"))
    found.logs = {"blog_web": [("t", "I wait")], "blog_db": [("t", "I run")]}
    error = failure(found)
    assert "db 1/1; web 0/1, no suitable node" in error.message
    assert error.details == ("I wait",)
    assert error.rolled_back is False
    assert "ronron logs blog" in error.remedy


def test_a_rolled_back_update_tells_why_the_new_version_failed() -> None:
    web = service("blog", "web", update="rollback_completed")
    bad = task(web, "failed", error="task: non-zero exit (1)", id="bad", Env=["BAD=1"])
    found = engine(task(web, "running"), bad, of=web)
    found.logs = {"blog_web": [("good", "hello"), (bad["ID"], "cannot start")]}
    error = failure(found)
    assert error.rolled_back
    assert str(error).startswith("blog: the new version of web did not work: non-zero exit (1)")
    assert "brought back" in error.remedy
    assert error.details == ("cannot start",)


@pytest.mark.parametrize("update", ["paused", "rollback_paused"])
def test_an_update_that_stopped_was_not_rolled_back(update: str) -> None:
    web = service("blog", "web", update=update)
    error = failure(engine(task(web, "running"), of=web))
    assert not error.rolled_back
    assert "stopped half way" in error.remedy


def test_a_roll_back_is_waited_for() -> None:
    web = service("blog", "web", update="rollback_started")
    found = engine(task(web, "running"), of=web)

    def end(method: str, path: str) -> None:
        if [path for _, path in found.asked].count("/services") == 2:
            web["UpdateStatus"]["State"] = "rollback_completed"

    found.before = end
    assert failure(found, 10).rolled_back


def test_an_image_that_is_nowhere_ends_the_waiting_at_once() -> None:
    web = service("blog", "web")
    error = "starting container failed: No such image: hello:9"
    found = engine(task(web, "rejected", desired="shutdown", error=error), of=web)
    assert "web does not start: No such image: hello:9" in str(failure(found, 600))


def test_a_service_that_fails_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(converge, "GRACE", -1.0)
    web = service("blog", "web")
    bad = [task(web, "failed", desired="shutdown", error="exit 1")] * converge.FAILURES
    assert "web does not start: exit 1" in str(failure(engine(*bad, of=web), 600))
    running = engine(*bad, task(web, "running"), of=web)
    with served(running) as runner, engine_of(runner) as client:
        wait(client, "blog", 600, ignore)


def test_the_last_lines_are_those_of_the_service_or_of_one_task() -> None:
    web = service("blog", "web")
    found = engine(of=web)
    found.logs = {"blog_web": [("one", f"line {n}") for n in range(20)] + [("two", "other, x y")]}
    with served(found) as runner, engine_of(runner) as client:
        assert last_lines(client, "blog", "web", 3) == ["line 18", "line 19", "other, x y"]
        assert last_lines(client, "blog", "web", 3, task="two") == ["other, x y"]
        assert last_lines(client, "blog", "gone") == []
        assert last_lines(client, "blog", "") == []
