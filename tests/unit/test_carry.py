"""ronron carried to the manager: what is compared, what is carried, and what stays here."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from ronron.backup.repository import VAULT_NAME
from ronron.errors import OperatorError, RonronError
from ronron.events import ignore
from ronron.plan import carry
from ronron.plan.model import Change
from ronron.plan.observe import Reality
from ronron.plan.session import session_over
from ronron.servers.carry import job, manager, program
from ronron.servers.carry.jobs import jobs, units
from ronron.servers.connections import Connections
from ronron.servers.recording import Answer, RecordingRunner
from ronron.site.load import LoadedSite, load_site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key
from ronron.swarm.facts import Carried, ServerFacts, parse
from unit.test_docs import parse as parse_command

TARGET = program.Target("3.13", "x86_64")
KEY = "ssh-ed25519 AAAA"
SITE = """\
name: site
domain: example.org
contact: a@example.org
servers: {master: {roles: [manager]}, worker: {}}
"""
TIMERS = "ronron-backup.timer, ronron-forget.timer, ronron-check.timer, ronron-drill.timer"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
    folder = tmp_path / "site"
    (folder / "apps").mkdir(parents=True)
    (folder / "ronron.yml").write_text(SITE + "backup: {repository: /srv/repository}\n")
    (folder / "apps" / "blog.yml").write_text("recipe: ghost\n")
    monkeypatch.setenv("RONRON_KEY_FILE", str(tmp_path / "key"))
    (folder / "recipients.txt").write_text(create_key(tmp_path / "key"))
    vault = Vault(folder, tmp_path / "key")
    for name in ("blog", VAULT_NAME):
        vault.write(name, Secrets({"password": Secret(f"{name} secret")}))
    return load_site(folder)


def reality(loaded: LoadedSite, **has: object) -> Reality:
    facts = ServerFacts("active", "x", True, "eth0", 1500, frozenset(), "3.13", "x86_64")
    line = carry._line(loaded.site, KEY)
    complete = Carried(
        program=program.digest(TARGET),
        version="0.1.0",
        ssh_key=KEY,
        recipient="age1x",
        units={name: text.strip() for name, text in units(loaded.site).items()},
        authorized=(line,),
    )
    master = replace(facts, carried=replace(complete, **has))  # type: ignore[arg-type]
    worker = replace(facts, manager=False, carried=Carried(authorized=(line,)))
    return Reality({"master": master, "worker": worker})


def found(loaded: LoadedSite, seen: Reality) -> list[tuple[str, str, str | None, str | None]]:
    made: list[Change] = list(carry.changes(loaded, seen))
    return [(one.where, one.field, one.before, one.after) for one in made]


def test_a_manager_that_has_everything_needs_nothing(loaded: LoadedSite) -> None:
    assert found(loaded, reality(loaded)) == []


def test_what_a_manager_lacks_is_told(loaded: LoadedSite) -> None:
    bare = reality(loaded, program="", version="", ssh_key="", units={}, authorized=())
    version, key = program.version(), "manager's SSH key"
    assert found(loaded, bare) == [
        ("server master", "ronron", None, version),
        ("server master", "timers", None, TIMERS),
        ("server master", key, None, "authorized"),
        ("server worker", key, "another key", "authorized"),
    ]
    assert found(loaded, reality(loaded, recipient="")) == [
        ("server master", "manager's age key", None, "made")
    ]
    older = reality(loaded, program="123456789abc", version="0.0.9")
    assert found(loaded, older) == [("server master", "ronron", "0.0.9", version)]


def test_a_former_managers_key_and_program_go_away(loaded: LoadedSite) -> None:
    seen = reality(loaded)
    former = Carried(program="x", version="0.1.0", authorized=("old ronron-manager site",))
    facts = dict(seen.facts) | {"worker": replace(seen.facts["worker"], carried=former)}
    assert found(loaded, replace(seen, facts=facts)) == [
        ("server worker", "manager's SSH key", "another key", "authorized"),
        ("server worker", "ronron", "0.1.0", None),
    ]


def test_a_carried_ronron_carries_nothing(
    loaded: LoadedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONRON_HERE", "manager")
    assert found(loaded, reality(loaded, program="")) == []


def test_a_key_is_bound_to_an_address_but_not_to_a_name(loaded: LoadedSite) -> None:
    assert "from=" not in carry._line(loaded.site, KEY)
    text = (loaded.folder / "ronron.yml").read_text()
    text = text.replace("master: {", "master: {address: 192.0.2.7, ")
    (loaded.folder / "ronron.yml").write_text(text)
    assert carry._line(load_site(loaded.folder).site, KEY).startswith('from="192.0.2.7",')


def test_the_copy_holds_what_jobs_need_and_opens_to_the_manager_alone(
    loaded: LoadedSite, tmp_path: Path
) -> None:
    recipient = create_key(tmp_path / "manager")
    with_keys = Vault(loaded.folder, tmp_path / "key")
    runner = RecordingRunner("master")
    session = session_over(Connections({"master": runner}), loaded, ignore)  # type: ignore[dict-item]
    carry.copy_site(session, Carried(recipient=recipient))
    (call,) = runner.calls
    assert call.argv[3] == "site"
    assert call.stdin
    copy = tmp_path / "copy"
    with tarfile.open(fileobj=io.BytesIO(call.stdin)) as archive:
        archive.extractall(copy, filter="data")
    assert load_site(copy).apps == loaded.apps
    there = Vault(copy, tmp_path / "manager")
    assert there.names == [VAULT_NAME]
    assert there.read(VAULT_NAME).values["password"].reveal() == "backup secret"
    assert there.open(VAULT_NAME)[1] == {recipient}
    assert not there.exists("blog")
    assert there.sealed("blog") == with_keys.path("blog").read_bytes()

    carry.copy_site(session, Carried(recipient=recipient, site=call.argv[4]))
    assert len(runner.calls) == 1
    (loaded.folder / "apps" / "blog.yml").write_text("recipe: ghost\ndomain: b.example.org\n")
    carry.copy_site(session, Carried(recipient=recipient, site=call.argv[4]))
    assert len(runner.calls) == 2


def test_what_the_manager_says_when_it_fails_is_told(loaded: LoadedSite) -> None:
    full = Answer(b"", 1, b"/opt/ronron: too little disk for ronron\n")
    runner = RecordingRunner("master", {"python3": full})
    with pytest.raises(RonronError, match=r"^master: ronron could not be carried") as caught:
        carry._there(runner, "program", "x", "0.1.0")
    assert caught.value.details == ("/opt/ronron: too little disk for ronron",)


@pytest.mark.parametrize(
    ("said", "calendar"),
    [
        ("", "Sun *-*-* 07:00:00"),
        ("drill: monthly", "*-*-01 07:00:00"),
        ('drill: "Mon,Thu *-*-* 03:30"', "Mon,Thu *-*-* 03:30"),
        ("drill: off", None),
    ],
)
def test_drills_come_every_week_unless_it_is_said_otherwise(
    tmp_path: Path, said: str, calendar: str | None
) -> None:
    text = "name: s\ndomain: example.org\ncontact: a@example.org\nbackup: {repository: /r, SAID}\n"
    (tmp_path / "ronron.yml").write_text(text.replace("SAID", said))
    site = load_site(tmp_path).site
    found = {job.name: job for job in jobs(site)}
    assert found["drill"].calendar == calendar if calendar else "drill" not in found
    assert ("ronron-drill.timer" in units(site)) == (calendar is not None)
    if calendar:
        assert f"OnCalendar={calendar}\n" in units(site)["ronron-drill.timer"]
        assert (
            "ronron.servers.carry.job drill /usr/local/bin/ronron drill\n"
            in (units(site)["ronron-drill.service"])
        )


@pytest.mark.parametrize("said", ["daily please", "-1", "Sun\n", "$(x)"])
def test_what_is_no_schedule_of_drills_is_refused(tmp_path: Path, said: str) -> None:
    text = "name: s\ndomain: example.org\ncontact: a@example.org\nbackup:\n  repository: /r\n"
    (tmp_path / "ronron.yml").write_text(f"{text}  drill: {json.dumps(said)}\n")
    with pytest.raises(OperatorError, match="is not a schedule of drills"):
        load_site(tmp_path)


def test_a_site_without_backups_has_no_jobs(loaded: LoadedSite) -> None:
    site = loaded.site.model_copy(update={"backup": None})
    assert jobs(site) == ()
    assert found(replace(loaded, site=site), reality(loaded)) == [
        ("server master", "timers", TIMERS, None)
    ]


def test_each_schedule_has_a_timer_and_nothing_is_deleted_from_a_rest_server(
    loaded: LoadedSite,
) -> None:
    def commands(backup: str, **apps: str) -> dict[str, tuple[str, str]]:
        (loaded.folder / "ronron.yml").write_text(SITE + f"backup: {{{backup}}}\n")
        for name, text in apps.items():
            (loaded.folder / "apps" / f"{name}.yml").write_text(f"recipe: hello\nbackup: {text}\n")
        site = load_site(loaded.folder)
        made = jobs(site.site, site.apps.values())
        assert set(units(site.site, site.apps.values())) == {
            f"ronron-{one.name}.{kind}" for one in made for kind in ("service", "timer")
        }
        return {one.name: (" ".join(one.command), one.calendar) for one in made}

    assert commands("repository: /r, check_reads: 1/52") == {
        "backup": ("backup --job backup", "*-*-* 02:00:00"),
        "forget": ("backup forget --yes", "Sun *-*-* 04:00:00"),
        "check": ("backup check --read 1/52", "Sun *-*-* 05:00:00"),
        "drill": ("drill", "Sun *-*-* 07:00:00"),
    }
    rest = "repository: 'rest:https://b.example.net/'"
    assert list(commands(rest)) == ["backup", "check", "drill"]
    found = commands(
        "repository: /r, schedule: weekly",
        shop="{schedule: hourly}",
        wiki="{schedule: 'Mon *-*-* 12:00', alert_after: 8d}",
        news="{schedule: weekly, keep: {daily: 30d}}",
    )
    assert found["backup"][1].startswith("Sun ")
    assert found["backup-hourly"] == ("backup --job backup-hourly", "*-*-* *:00:00")
    (own,) = [name for name in found if re.fullmatch("backup-[0-9a-f]{8}", name)]
    assert found[own][1] == "Mon *-*-* 12:00"


def test_timers_spread_their_runs_and_make_up_for_what_was_missed(loaded: LoadedSite) -> None:
    settings = loaded.site.backup
    assert settings
    for schedule, seconds in (("hourly", 900), ("daily", 3600), ("weekly", 3600)):
        backup = settings.model_copy(update={"schedule": schedule})
        made = units(loaded.site.model_copy(update={"backup": backup}))
        timers = {name: text.splitlines() for name, text in made.items() if "timer" in name}
        assert ", ".join(timers) == TIMERS
        for name, lines in timers.items():
            spread = seconds if name == "ronron-backup.timer" else 3600
            assert f"RandomizedDelaySec={spread}" in lines, name
            assert "Persistent=true" in lines, name


def test_what_the_services_run_is_a_command_that_exists(loaded: LoadedSite) -> None:
    services = {name: text for name, text in units(loaded.site).items() if "service" in name}
    assert "ronron-drill.service" in services
    for name, text in services.items():
        (line,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
        runner, words = line.replace("%%", "%").split(f" {manager.LAUNCHER} ")
        assert find_spec(runner.split()[2]), name
        parse_command(words.split())


def test_a_percent_sign_is_one_to_systemd(loaded: LoadedSite) -> None:
    assert " --read 5%%\n" in units(loaded.site)["ronron-check.service"]


def test_a_job_leaves_when_it_ran_and_how(tmp_path: Path) -> None:
    assert job.run("backup", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "jobs") == 3
    left = json.loads((tmp_path / "jobs" / "backup.json").read_text())
    assert left["status"] == 3
    assert left["begun"] <= left["ended"]


def test_the_wheel_has_every_file_of_the_package_as_it_is(tmp_path: Path) -> None:
    name, content = program.own_wheel()
    assert program.own_wheel()[1] == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        record = next(one for one in names if one.endswith("/RECORD"))
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert {row[0] for row in rows} == set(names)
        here = REPOSITORY / "src/ronron"
        assert archive.read("ronron/requirements.lock") == (here / "requirements.lock").read_bytes()
        scripts = [one for one in names if (archive.getinfo(one).external_attr >> 16) & 0o100]
    assert name == f"ronron-{program.version()}-py3-none-any.whl"
    executable = [p for p in here.rglob("*") if p.is_file() and p.stat().st_mode & 0o100]
    assert len(scripts) == len([p for p in executable if "__pycache__" not in p.parts])


def test_the_digest_changes_with_python_and_processor() -> None:
    targets = [TARGET, program.Target("3.11", "x86_64"), program.Target("3.13", "aarch64")]
    assert len({program.digest(target) for target in targets}) == 3
    assert program.digest(TARGET) == program.digest(TARGET)


def test_the_lock_is_the_developments_and_has_what_ronron_needs() -> None:
    pins = re.compile(r"^([\w.-]+)==(\S+)", re.M)
    whole = dict(pins.findall((REPOSITORY / "requirements.lock").read_text()))
    carried = dict(pins.findall((REPOSITORY / "src/ronron/requirements.lock").read_text()))
    assert carried.items() <= whole.items()
    needs = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[><=]", one)[0].lower() for one in needs} <= carried.keys()


def test_conditions_of_the_lock_are_the_servers_not_this_computers() -> None:
    text = program.lock(TARGET)
    assert "pywin32" not in text
    assert "greenlet==" in text
    assert ";" not in text
    assert text.count("--hash=sha256:") > 100


def test_a_python_that_is_too_old_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(RonronError, match=r"its Python 3\.10 is too old"):
        program.bundle(program.Target("3.10", "x86_64"))


def test_no_index_and_nothing_cached_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RonronError, match="could not be fetched here") as caught:
        program.bundle(TARGET)
    assert "package index" in caught.value.remedy
    assert list((tmp_path / "ronron" / "wheels").iterdir()) == []


def test_keys_of_others_stay_and_a_managers_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Someone:
        pw_dir, pw_uid, pw_gid = str(tmp_path), -1, -1

    monkeypatch.setattr("pwd.getpwnam", lambda user: Someone)
    path = tmp_path / ".ssh" / "authorized_keys"
    for key, left in (("one", ["one"]), ("two", ["two"]), ("", [])):
        line = f"{key} ronron-manager site" if key else ""
        monkeypatch.setattr(sys, "stdin", io.StringIO(line))
        if path.exists():
            path.write_text(path.read_text() + "operator's\nx ronron-manager other\n")
        manager.authorize("root", "ronron-manager site")
        lines = path.read_text().splitlines()
        assert [one.split()[0] for one in lines if one.endswith(" site")] == left
    assert lines.count("operator's") == 2
    assert lines.count("x ronron-manager other") == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_server_says_of_itself_is_read() -> None:
    answer: dict[str, object] = {"swarm": None, "interface": "eth0", "mtu": 1500, "folders": []}
    assert parse(answer).carried == Carried()
    told = {"program": "x", "version": "1", "site": "y", "ssh_key": KEY, "recipient": "age1"}
    lists = {"units": {"ronron-backup.timer": "text"}, "authorized": ["line"]}
    seen = parse({**answer, "python": "3.13", "machine": "x86_64", "carried": {**told, **lists}})
    assert seen.carried.authorized == ("line",)
    assert seen.carried.units == {"ronron-backup.timer": "text"}
    assert (seen.python, seen.machine) == ("3.13", "x86_64")
