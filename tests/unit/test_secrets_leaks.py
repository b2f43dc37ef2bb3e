"""Secrets of awkward characters go the whole way, and nothing that is seen holds one of them.

The way: vault, names of Docker secrets, rendering, plan, deployment, record, rotation, failures.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pretended_swarm import PretendedSwarm, pretended_swarm
from ronron.catalog.recipe import Catalog
from ronron.cli import main
from ronron.cli.crash import save_traceback
from ronron.errors import RonronError
from ronron.events import Event
from ronron.plan import make as planning
from ronron.plan import secrets as domain
from ronron.plan.apply import make_secrets
from ronron.plan.observe import Reality
from ronron.plan.session import Session
from ronron.servers.connections import Connections
from ronron.servers.provision.model import ProvisioningPlan
from ronron.servers.recording import Answer
from ronron.site.load import load_site
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, create_key
from ronron.swarm import stacks, state
from ronron.swarm.engines import engine_of

SITE = """\
name: my-cloud
domain: example.org
contact: admin@example.org
servers:
  recorded: {address: recorded.example.net, roles: [manager, storage]}
"""
STACK = """\
x-ronron:
  title: Vaulted
  license: MIT
  secrets:
    db_password:
      rotate:
        service: db
        accept: [change, accept]
        drop: [change, drop]
    session_key: {}
services:
  worker: {image: "worker:1.0", secrets: [db_password, session_key]}
  db: {image: "db:1.0", secrets: [db_password]}
secrets:
  db_password: {external: true}
  session_key: {external: true}
"""
MARK = "Zq7xW"
"""Is in every secret, and nowhere else: half of a secret in an output is found too."""

awkward = st.text(
    st.one_of(
        st.sampled_from("\"'`\\$%{}#&;|<>*?!~/@:=+-_.,()[] "),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    max_size=30,
).map(lambda text: f"{MARK}{text}{MARK[::-1]}")
lines = st.text("\n\t\r\x7f 'x\"", max_size=6).map(lambda text: f"{MARK}{text}{MARK[::-1]}")


@dataclasses.dataclass
class Way:
    """A site, its swarm, and everything that was seen of what is done with them."""

    session: Session
    swarm: PretendedSwarm
    home: Path
    events: list[Event] = dataclasses.field(default_factory=list)
    seen: list[str] = dataclasses.field(default_factory=list)

    @property
    def vault(self) -> Vault:
        return self.session.vault

    def plan(self) -> Any:
        with engine_of(self.swarm) as engine:
            reality = Reality(swarm=state.observe(engine))
        session = self.session
        found = planning.make(
            session.loaded, reality, ProvisioningPlan(), session.catalog, session.vault, ["vaulted"]
        )
        self.show(found)
        return found

    def show(self, plan: Any) -> None:
        from ronron.cli import changes

        changes.show(plan, as_json=True)
        changes.show(plan, as_json=False)
        self.seen += [repr(plan), str(plan)]

    def deploy(self) -> None:
        loaded = self.session.loaded
        app = loaded.apps["vaulted"]
        recipe = planning.recipe_of(app, loaded, self.session.catalog)
        secrets = make_secrets(self.session, app, recipe, ())
        stack, _ = planning.rendered(app, recipe, loaded.site, secrets, 1500)
        self.seen += [
            stack.text,
            repr(stack),
            repr(secrets),
            json.dumps(dataclasses.asdict(stack), default=str),
        ]
        about = {"app": app.model_dump(mode="json"), "domain": stack.domain, "health": "/"}
        with engine_of(self.swarm) as engine:
            stacks.deploy(
                engine,
                self.swarm,
                stack,
                secrets,
                about=about,
                seconds=5,
                report=self.events.append,
            )

    def rotate(self, wanted: dict[str, Secret | None]) -> tuple[str, ...]:
        return domain.change(self.session, "vaulted", wanted, seconds=5)

    def failing(self, work: Callable[[], object]) -> RonronError:
        """What fails: printed as on the command line, and saved as a bug's traceback would be."""
        with pytest.raises(RonronError) as raised:
            work()
        error = raised.value
        main.print_error(str(error), error.details)
        self.seen += [repr(error), str(vars(error)), save_traceback(error)]
        return error

    def outputs(self) -> Iterator[tuple[str, str]]:
        """Everything that was seen anywhere but in the vault, in Docker's secrets, and by the
        commands that a database gets on standard input."""
        yield "requests to the engine", "\n".join(self.swarm.said)
        for call in self.swarm.calls:
            yield "argv", "\0".join(call.argv)
            if call.argv[:2] != ("docker", "exec"):
                yield "stdin", (call.stdin or b"").decode()
        yield "events", "\n".join(map(repr, self.events))
        yield "objects", repr((replace(self.session, servers=Connections({})), self.swarm.services))
        yield "seen", "\n".join(self.seen)
        yield "environment", repr(dict(os.environ))
        for folder in (self.home, self.session.loaded.folder):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield str(path), path.read_bytes().decode(errors="replace")


@contextmanager
def way() -> Iterator[Way]:
    with tempfile.TemporaryDirectory() as name, pretended_swarm(Path(name)) as swarm:
        folder, home = Path(name) / "site", Path(name) / "home"
        (folder / "apps").mkdir(parents=True)
        (folder / "recipes" / "vaulted").mkdir(parents=True)
        (folder / "ronron.yml").write_text(SITE)
        (folder / "known_hosts").touch()
        (folder / "apps" / "vaulted.yml").write_text("recipe: vaulted\n")
        (folder / "recipes" / "vaulted" / "stack.yml").write_text(STACK)
        key = Path(name) / "key"
        (folder / "recipients.txt").write_text(create_key(key) + "\n")
        loaded = load_site(folder)
        events: list[Event] = []
        catalog = Catalog(loaded.recipes)
        servers: Any = {"recorded": swarm}
        session = Session(loaded, servers, catalog, Vault(folder, key), events.append)
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": str(home)}):
            yield Way(session, swarm, home, events)


def disguises(value: str) -> set[str]:
    """The ways in which a value could stand in an output; pieces of it have the mark."""
    raw = value.encode()
    return {
        MARK,
        MARK[::-1],
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        raw.hex(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


def assert_hidden(found: Way, values: list[str], printed: str) -> None:
    wanted = set[str]().union(*map(disguises, values))
    for where, text in (*found.outputs(), ("printed or logged", printed)):
        for disguise in wanted:
            assert disguise not in text, f"in {where}"


hardly = settings(
    max_examples=int(os.environ.get("RONRON_EXAMPLES", "10")),
    deadline=None,
    # Each example is a site and a swarm: what fails is shown as it was found.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(first=awkward, second=awkward, key=st.one_of(awkward, lines))
@hardly
def test_no_secret_is_seen_on_the_whole_way(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    first: str,
    second: str,
    key: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    with way() as found:
        values = {"db_password": Secret(first), "session_key": Secret(key)}
        found.plan()
        found.vault.write("vaulted", Secrets(values))
        found.plan()
        found.deploy()
        assert found.plan().empty
        found.rotate({"db_password": Secret(second), "session_key": None})
        known = found.vault.read("vaulted")
        assert known.values["db_password"] == Secret(second)
        # It arrived, which is why looking for it means something.
        assert second.encode() in found.swarm.secrets.values()
        told = [call.stdin for call in found.swarm.calls if call.argv[:2] == ("docker", "exec")]
        assert told == ([f"{first}\n{second}\n".encode()] * 2 if first != second else [])
        assert found.plan().empty
        assert len(found.swarm.secrets) == 2, "the old values are gone from the swarm"
        records = [name for name in found.swarm.configs if name.startswith("ronron.vaulted.")]
        assert len(records) == 1, "a rotation is no revision to go back to"
        made = known.values["session_key"].reveal()
        assert_hidden(found, [first, second, key, made], _printed(capsys, caplog))


@given(first=awkward, second=awkward)
@hardly
@pytest.mark.parametrize("fails", ["accept", "drop", "services"])
def test_no_secret_is_seen_when_something_fails(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fails: str,
    first: str,
    second: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    with way() as found:
        found.vault.write(
            "vaulted", Secrets({"db_password": Secret(first), "session_key": Secret(second)})
        )
        found.deploy()
        wanted = Secret(f"{second}!")
        said = f"ERROR: near '{second}!' and {first!r}, {json.dumps(second)}: {second[3:]}!"
        if fails == "services":
            found.swarm.broken = f"task.id=x {said}"
        else:
            command = f"docker exec -i container-of-vaulteddb change {fails}"
            found.swarm.answers = {
                **found.swarm.answers,
                command: Answer(status=1, stderr=said.encode()),
            }
        error = found.failing(lambda: found.rotate({"db_password": wanted}))
        expected = "the old ones still do" if fails == "drop" else "could not be changed"
        assert expected in str(error)
        assert "***" in error.details
        assert_hidden(found, [first, second, f"{second}!"], _printed(capsys, caplog))


@given(value=awkward)
@hardly
def test_no_secret_is_seen_in_a_damaged_file(
    capsys: pytest.CaptureFixture[str], value: str
) -> None:
    import pyrage

    with way() as found:
        recipient = pyrage.x25519.Recipient.from_str(found.vault.recipient)
        (found.session.loaded.folder / "vault").mkdir()
        for plain in (
            value,
            f'{{"salt": "{value}"',
            json.dumps({"salt": "00", "secrets": [value]}),
        ):
            content = pyrage.encrypt(plain.encode(), [recipient], armored=True)
            found.vault.path("vaulted").write_bytes(content)
            error = found.failing(found.plan)
            assert "is damaged or was tampered with" in str(error)
        assert_hidden(found, [value], _printed(capsys, None))


def _printed(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture | None) -> str:
    captured = capsys.readouterr()
    logged = caplog.text if caplog else ""
    if caplog:
        caplog.clear()
    return captured.out + captured.err + logged


def test_the_tests_would_find_a_secret() -> None:
    with way() as found:
        found.vault.write(
            "vaulted", Secrets({name: Secret(MARK) for name in ("db_password", "session_key")})
        )
        found.deploy()
        found.seen.append(f"the password is {MARK}")
        with pytest.raises(AssertionError, match=re.escape("in seen")):
            assert_hidden(found, [MARK], "")
