"""Quotas: declared, compared with what servers have, and refused where a file system has none."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ronron.catalog.recipe import Catalog
from ronron.catalog.render import parameters
from ronron.catalog.stack import SHARED, Stack, Volume
from ronron.errors import OperatorError, SiteError
from ronron.plan import limiting
from ronron.plan.observe import Reality
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.load import load_site
from ronron.swarm import quota_program, quotas, record, state, volumes
from ronron.swarm.facts import ServerFacts

ROOT = "/srv/ronron/volumes"
CONTENT = Volume("blog", "content", "files", 1000, 1000, "0750", ("web",), quota=5 << 30)


def test_a_quota_is_declared_by_volume(tmp_path: Path) -> None:
    (tmp_path / "ronron.yml").write_text("name: s\ndomain: a.org\ncontact: a@a.org\n")
    (tmp_path / "apps").mkdir()
    file = tmp_path / "apps" / "blog.yml"
    file.write_text("recipe: ghost\nvolumes: {content: {quota: 5G}}\n")
    assert load_site(tmp_path).app("blog").volumes["content"].bytes == 5 << 30
    file.write_text("recipe: ghost\nvolumes: {content: {quota: 5}}\n")
    with pytest.raises(SiteError, match=r"volumes\.content\.quota"):
        load_site(tmp_path)
    file.write_text("recipe: ghost\nvolumes: {contents: {quota: 5G}}\n")
    site = load_site(tmp_path)
    with pytest.raises(SiteError, match=r"volumes\.contents: unknown volume \(ghost has: "):
        parameters(site.app("blog"), Catalog().find("ghost"), site.site)


def reality(quota: int = 0, unlimited: str = "") -> Reality:
    """A storage server with the volume's folder."""
    text = {
        "services": {
            "web": {
                "deploy": {"placement": {"constraints": ["node.labels.ronron.storage == true"]}}
            }
        },
        "volumes": {"content": {"driver_opts": {"device": CONTENT.path}}},
    }
    made = record.make("blog", 1, stack=json.dumps(text), stack_digest="", specs={}, about={})
    node = state.Node("1", "manager", "manager", "active", "ready", "", True, STORAGE)
    facts = ServerFacts(
        "active", "1", True, "eth0", 1500, frozenset([CONTENT.path]),
        quotas={CONTENT.path: quota} if quota else {},
        unlimited={CONTENT.path: unlimited, f"{ROOT}/new": unlimited} if unlimited else {},
    )  # fmt: skip
    return Reality(
        {"manager": facts}, {}, state.SwarmState(True, (node,), records={"blog": (made,)})
    )


STORAGE = {"ronron.storage": "true"}


def stack(*found: Volume) -> Stack:
    return Stack("blog", "ghost", "", None, "/", {}, {}, {}, (), found)


def test_a_limit_that_differs_is_a_change_and_one_that_is_there_is_none() -> None:
    for there, wanted, shown in ((0, 5 << 30, (None, "5G")), (1 << 30, 0, ("1G", None))):
        found = reality(there)
        ((server, volume),) = limiting.differing(stack(replace(CONTENT, quota=wanted)), found)
        change = limiting.change(server, volume, found)
        assert (change.field, change.before, change.after) == ("volumes.content.quota", *shown)
    assert list(limiting.differing(stack(CONTENT), reality(5 << 30))) == []
    assert list(limiting.differing(stack(replace(CONTENT, quota=0)), reality())) == []


def test_where_there_can_be_none_the_plan_says_so_and_changes_nothing() -> None:
    found = reality(unlimited="overlay has none")
    assert list(limiting.differing(stack(CONTENT), found)) == []
    said = ["blog: content has no quota on manager: overlay has none"]
    assert list(limiting.impossible(stack(CONTENT), found)) == said
    fresh = replace(found, swarm=replace(found.swarm, records={}))
    fresh = replace(fresh, facts={"manager": replace(found.facts["manager"], folders=frozenset())})
    assert list(limiting.impossible(stack(CONTENT), fresh)) == said, "before it is deployed"
    assert list(limiting.impossible(stack(replace(CONTENT, quota=0)), found)) == []


def test_files_shared_by_nfs_are_limited_where_their_disk_is() -> None:
    content = replace(CONTENT, shared=True)
    found = reality()
    record_ = record.make(
        "blog", 1, stack=json.dumps(
            {"services": {}, "volumes": {"content": {"driver_opts": {"device": content.path}}}}
        ), stack_digest="", specs={}, about={},
    )  # fmt: skip
    holder = replace(found.facts["manager"], folders=frozenset([content.path]))
    other = replace(holder, unlimited={SHARED: "shared storage has none"})
    there = replace(
        found,
        facts={"worker-1": other, "manager": holder},
        swarm=replace(found.swarm, records={"blog": (record_,)}),
    )
    assert list(limiting.differing(stack(content), there)) == [("manager", content)]
    assert list(limiting.impossible(stack(content), there)) == []
    nowhere = replace(there, facts={"worker-1": other})
    said = ["blog: content has no quota on worker-1: shared storage has none"]
    assert list(limiting.impossible(stack(content), nowhere)) == said


def test_the_server_says_why_it_cannot() -> None:
    runner = RecordingRunner(
        "manager", {"python3": Answer(status=1, stderr=b"ext4 is mounted without prjquota\n")}
    )
    with pytest.raises(OperatorError, match="cannot be set on manager: ext4 is mounted without"):
        quotas.set_limit(runner, CONTENT)
    assert runner.commands == [["python3", "-", CONTENT.path, str(5 << 30)]]


def test_a_folder_that_gets_a_quota_on_btrfs_is_a_subvolume() -> None:
    plain = volumes.folder_commands(replace(CONTENT, quota=0))
    limited = volumes.folder_commands(CONTENT)
    assert [command for command in limited if command not in plain] == [limited[1]]
    assert "btrfs subvolume create" in limited[1][2]


def test_the_program_runs_alone_and_touches_nothing_where_it_cannot(tmp_path: Path) -> None:
    _, kind, _ = quota_program.mounted(str(tmp_path))
    assert kind
    done = subprocess.run(
        [sys.executable, "-", "/proc/self", "1000000"],
        input=quotas.program(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (1, "proc has none")
    assert quota_program.limit(str(tmp_path / "nothing")) == 0
    assert quota_program.unable("/proc/self/nothing/deep") == "proc has none"
