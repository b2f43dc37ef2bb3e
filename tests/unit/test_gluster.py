"""GlusterFS: from what servers tell to the changes between, and the commands that make them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ronron.errors import OperatorError
from ronron.events import ignore
from ronron.plan import gluster as carrying
from ronron.servers import gluster
from ronron.servers.gluster import BRICK, OPTIONS, SHARED, Copy, GlusterFacts, StorageChange
from ronron.servers.provision.model import Part, StorageAccess
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.models import Site

NAMES = ("one", "two", "three", "four")
BRICKS = {name: f"id-{name}" for name in NAMES[:3]}
MOUNTED = dict.fromkeys(NAMES, "mounted")


def site(*names: str, shared: str = "glusterfs") -> Site:
    servers = {name: {"roles": ["manager"] if name == names[0] else ["worker"]} for name in names}
    return Site.model_validate(
        {
            "name": "cats",
            "domain": "example.org",
            "contact": "cat@example.org",
            "servers": servers,
            "storage": {"shared": shared},
        }
    )


def holder(name: str) -> GlusterFacts:
    """What a server that holds a copy tells when all is well."""
    peers = frozenset(uuid for other, uuid in BRICKS.items() if other != name)
    return GlusterFacts(f"id-{name}", peers, "d5a20d1c", True, BRICKS, OPTIONS, data=True)


WELL = {name: holder(name) for name in BRICKS} | {"four": GlusterFacts()}


def changes(
    seen: dict[str, GlusterFacts], mounted: dict[str, str] = MOUNTED, *names: str
) -> list[tuple[str, str, str | None, str]]:
    found = gluster.changes(site(*(names or NAMES)), seen, mounted)
    return [(change.action, change.server, change.before, change.after) for change in found]


def test_three_servers_get_copies_and_all_of_them_the_mount() -> None:
    bare = {name: GlusterFacts(f"id-{name}" if name != "four" else "") for name in NAMES}
    assert changes(bare, dict.fromkeys(NAMES, "absent")) == [
        ("probe", "two", None, "of one"),
        ("probe", "three", None, "of one"),
        ("create", "one", None, "copies on one, two, three"),
        *(("mount", name, None, "mounted") for name in NAMES),
    ]
    assert changes({}, {})[-1] == ("create", "one", None, "copies on one, two, three")


def test_what_is_as_declared_is_left_alone() -> None:
    assert changes(WELL) == []
    assert changes(WELL, {**MOUNTED, "two": "silent"}) == [], "mounted, and its servers are away"
    assert list(gluster.changes(site(*NAMES, shared="local"), {}, {})) == []


def test_two_servers_are_too_few() -> None:
    with pytest.raises(OperatorError, match="glusterfs needs 3 servers, and here are 2"):
        changes({}, {}, "one", "two")


@pytest.mark.parametrize(
    "lost", [GlusterFacts("id-new"), GlusterFacts(), replace(holder("two"), data=False)]
)
def test_a_server_that_lost_its_copy_is_healed(lost: GlusterFacts) -> None:
    assert changes({**WELL, "two": lost}) == [("heal", "two", None, "as on three")]


def test_the_first_server_may_be_the_one_that_is_new() -> None:
    assert changes({**WELL, "one": GlusterFacts("id-new")}) == [("heal", "one", None, "as on two")]


def test_a_server_that_does_not_answer_is_left_alone() -> None:
    seen = {name: facts for name, facts in WELL.items() if name != "two"}
    assert changes(seen) == []


def test_a_server_that_is_no_longer_declared_hands_its_copy_on() -> None:
    names = ("one", "three", "four")
    seen = {name: WELL[name] for name in names}
    assert changes(seen, dict.fromkeys(names, "mounted"), *names) == [
        ("probe", "four", None, "of three"),
        ("replace", "four", "two", "four"),
    ]


def test_settings_and_a_stopped_volume_are_put_right() -> None:
    wrong = {**OPTIONS, "network.ping-timeout": "42"}
    facts = {name: replace(holder(name), options=wrong, started=False) for name in BRICKS}
    assert changes({**facts, "four": GlusterFacts()}) == [
        ("start", "two", "stopped", "started"),
        ("option", "two", "42", "10"),
    ]


def test_provisioning_puts_the_certificate_everywhere_and_bricks_on_three() -> None:
    access = StorageAccess("CERTIFICATE", "PRIVATE KEY")
    holds, mounts = (gluster.part(site(*NAMES), name, access) for name in ("three", "four"))
    assert holds.packages == ("glusterfs-client", "glusterfs-server")
    assert (holds.services, mounts.services) == (("glusterd",), ())
    assert (mounts.packages, mounts.folders) == (
        ("glusterfs-client",),
        (("/var/lib/glusterd", 0o755), ("/etc/ssl", 0o755)),
    )
    assert holds.files == mounts.files
    files = {file.path: file for file in mounts.files}
    assert files["/etc/ssl/glusterfs.key"].mode == 0o600
    assert files["/etc/ssl/glusterfs.key"].secret
    assert files["/etc/ssl/glusterfs.ca"].content == "CERTIFICATE", "nobody else's is accepted"
    assert "PRIVATE KEY" not in repr(holds)
    unit = files["/etc/systemd/system/shared-storage.service"].content
    assert "--volfile-server=one --volfile-server=two --volfile-server=three" in unit
    assert gluster.part(site(*NAMES, shared="nfs"), "one", access) == Part()


def carried(change: StorageChange, seen: dict[str, GlusterFacts]) -> dict[str, RecordingRunner]:
    runners = {name: RecordingRunner(name) for name in NAMES}
    storage = carrying.Storage(site(*NAMES), seen, runners)
    carrying.carry_out(change, storage, ignore)
    return runners


def test_a_volume_is_made_once_all_know_each_other_by_name() -> None:
    change = StorageChange("create", "one", "storage ronron", None, "", by="one")
    runners = carried(change, {})
    assert runners["two"].commands == [["gluster", "--mode=script", "peer", "probe", "one"]]
    made, *options, started, granular = (argv[2:] for argv in runners["one"].commands)
    where = [f"{name}:{BRICK}" for name in NAMES[:3]]
    assert made == ["volume", "create", "ronron", "replica", "3", *where, "force"]
    wanted = [["volume", "set", "ronron", *option] for option in OPTIONS.items()]
    assert options == wanted[:-1]
    assert started == ["volume", "start", "ronron"]
    assert granular == ["volume", "heal", "ronron", "granular-entry-heal", "disable"]


def test_a_new_server_takes_the_place_of_the_lost_one() -> None:
    seen = {**WELL, "two": GlusterFacts("id-new")}
    (change,) = gluster.changes(site(*NAMES), seen, MOUNTED)
    runners = carried(change, seen)
    new = [argv[:3] for argv in runners["two"].commands]
    assert new[0] == ["systemctl", "stop", "glusterd"]
    assert runners["two"].commands[1][3:] == ["/var/lib/glusterd/glusterd.info", "id-two"]
    assert runners["two"].files["/var/lib/glusterd/peers/id-one"][0] == (
        b"uuid=id-one\nstate=3\nhostname1=one\n"
    )
    assert "/var/lib/glusterd/peers/id-two" not in runners["two"].files
    assert runners["two"].commands[-1][3:] == [BRICK, "d5a20d1c"]
    asked = list(runners["three"].commands)
    assert asked[0] == ["mountpoint", "-q", SHARED]
    assert asked[1][3:] == [SHARED], "what the new one missed is noted while it is away"
    assert [argv[2:] for argv in asked[2:]] == [["volume", "start", "ronron", "force"]]


def test_an_empty_disk_gets_its_mark_and_its_files() -> None:
    seen = {**WELL, "two": replace(holder("two"), data=False)}
    (change,) = gluster.changes(site(*NAMES), seen, MOUNTED)
    runners = carried(change, seen)
    assert [argv[3:] for argv in runners["two"].commands] == [[], [BRICK, "d5a20d1c"]]


def test_the_mount_is_enabled_started_and_open_to_the_apps() -> None:
    change = StorageChange("mount", "four", SHARED, None, "mounted", by="four")
    assert carried(change, WELL)["four"].commands == [
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "shared-storage.service"],
        ["systemctl", "restart", "shared-storage.service"],
        ["chmod", "0711", SHARED],
    ]


def test_what_is_refused_is_tried_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "SECONDS", 0.0)
    answers = {"gluster": Answer(status=1, stderr=b"volume create: failed: Host two not connected")}
    runners = {name: RecordingRunner(name) for name in NAMES} | {
        "one": RecordingRunner("one", answers)
    }
    change = StorageChange("create", "one", "storage ronron", None, "", by="one")
    with pytest.raises(Exception, match="one") as raised:
        carrying.carry_out(change, carrying.Storage(site(*NAMES), {}, runners), ignore)
    assert "not connected" in str(raised.value.details)  # type: ignore[attr-defined]


def test_a_servers_answer_is_read_without_what_is_secret_in_it() -> None:
    info = {"volume-id": "d5a20d1c", "status": "1", "username": "u", **OPTIONS}
    told = {"id": "id-one", "peers": ["id-two"], "bricks": BRICKS, "info": info, "data": True}
    facts = gluster.parse(told)
    assert facts == replace(holder("one"), peers=frozenset({"id-two"}))
    assert not {"username", "password"} & set(facts.options)


STATUS = b"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<cliOutput><healInfo><bricks>
  <brick hostUuid="id-one"><name>one:/srv/ronron/bricks/files</name><status>Connected</status>
    <totalNumberOfEntries>3</totalNumberOfEntries>
    <numberOfEntriesInHealPending>3</numberOfEntriesInHealPending>
    <numberOfEntriesInSplitBrain>0</numberOfEntriesInSplitBrain></brick>
  <brick hostUuid="-"><name>two:/srv/ronron/bricks/files</name>
    <status>Transport endpoint is not connected</status>
    <totalNumberOfEntries>-</totalNumberOfEntries>
    <numberOfEntriesInHealPending>-</numberOfEntriesInHealPending>
    <numberOfEntriesInSplitBrain>-</numberOfEntriesInSplitBrain></brick>
</bricks></healInfo><opRet>0</opRet></cliOutput>
"""


def test_the_copies_are_told_with_what_is_behind() -> None:
    runner = RecordingRunner("one", {"gluster": STATUS})
    assert gluster.copies(runner) == (Copy("one", True, 3, 0), Copy("two", False, None, None))
