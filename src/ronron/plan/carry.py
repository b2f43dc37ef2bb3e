"""ronron carried to the manager: the program, its copy of the site, its keys, its timers.

What a manager has is compared with what it shall have; all of it is there after an apply, and
nothing is done when it is there already.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ronron.backup.repository import VAULT_NAME
from ronron.errors import RonronError, ServerError
from ronron.events import Event, State, step
from ronron.plan.model import Change
from ronron.plan.observe import Reality
from ronron.servers.carry import program
from ronron.servers.carry.jobs import jobs, units
from ronron.servers.names import is_address
from ronron.servers.runner import Runner
from ronron.site.load import SITE_FILE, LoadedSite
from ronron.site.models import Site
from ronron.site.vault import RECIPIENTS_FILE, Vault, encrypted_to
from ronron.swarm import facts as server_facts
from ronron.swarm.facts import Carried, ServerFacts

if TYPE_CHECKING:
    from ronron.plan.session import Session

HERE = "RONRON_HERE"
"""Environment variable that says that this ronron was carried: it carries nothing itself."""

JOBS_VAULT = (VAULT_NAME,)
"""The vault's files that jobs read: these, and no others, are encrypted to the manager's key."""

INSTALL_SECONDS = 600


def changes(loaded: LoadedSite, reality: Reality) -> Iterator[Change]:
    """What carrying would change on the servers that answered.

    The copy of the site is not told: it follows the site by itself.
    """
    site = loaded.site
    manager = site.manager.name
    seen = reality.facts.get(manager)
    if HERE in os.environ or seen is None or not seen.python:
        return
    where, has = f"server {manager}", seen.carried
    if has.program != program.digest(_target(seen)):
        why = "what apply carries for timers" if not has.program else "its program differs"
        yield Change(where, "ronron", has.version or None, program.version(), why)
    elif not has.recipient:
        yield Change(where, "manager's age key", None, "made", "it opens what jobs need")
    wanted = {name: text.strip() for name, text in _units(loaded).items()}
    if dict(has.units) != wanted:
        before = [name for name, text in has.units.items() if name.endswith(".timer") and text]
        after = [f"ronron-{job.name}.timer" for job in jobs(site, loaded.apps.values())]
        yield Change(where, "timers", ", ".join(before) or None, ", ".join(after) or None)
    for name, facts in reality.facts.items():
        if not has.ssh_key or list(facts.carried.authorized) != [_line(site, has.ssh_key)]:
            known = "another key" if facts.carried.authorized else None
            why = f"jobs on {manager} log in here"
            yield Change(f"server {name}", "manager's SSH key", known, "authorized", why)
        if name != manager and facts.carried.program:
            why = f"{manager} is the manager"
            yield Change(f"server {name}", "ronron", facts.carried.version, None, why)


def carry_out(session: Session, reality: Reality) -> None:
    """Make the manager, and the others' access for it, what `changes` compares with.

    Raises RonronError with the first thing that failed; the next apply goes on from there.
    """
    site, report = session.loaded.site, session.report
    seen = reality.facts[site.manager.name]
    has, target, manager = seen.carried, _target(seen), session.manager
    if has.program != (digest := program.digest(target)):
        with step(report, "fetch what ronron needs there", manager.name):
            packed = _for(manager.name, target)
        with step(report, "install ronron", manager.name):
            _there(manager, "program", digest, program.version(), stdin=packed)
    if not has.ssh_key or not has.recipient:
        has = replace(has, **json.loads(_there(manager, "keys", site.name)))
    copy_site(session, has)
    with step(report, "let the manager log in", ""):
        _authorize(session, reality, has.ssh_key)
    wanted = _units(session.loaded)
    if dict(has.units) != {name: text.strip() for name, text in wanted.items()}:
        with step(report, "write timers", manager.name):
            _there(manager, "units", stdin=json.dumps(wanted).encode())
    for name, facts in reality.facts.items():
        if name != manager.name and facts.carried.program:
            with step(report, "remove ronron", name):
                _there(session.servers[name], "off")


def _units(loaded: LoadedSite) -> Mapping[str, str]:
    return units(loaded.site, loaded.apps.values())


def follow(session: Session, reality: Reality | None = None) -> None:
    """Bring the manager's copy of the site up to date, where ronron was carried.

    For what changes the site without an apply: that it fails is told, and fails nothing.
    """
    manager = session.loaded.site.manager.name
    if HERE in os.environ:
        return
    with suppress(RonronError):
        seen = reality.facts.get(manager) if reality else None
        has = (seen or server_facts.read(session.manager)).carried
        if not (has.program and has.recipient):
            return
        try:
            copy_site(session, has)
        except RonronError as error:
            note = f"the manager's copy of the site is older: {error}; ronron apply replaces it"
            session.report(Event("copy the site", manager, State.NOTE, note))


def copy_site(session: Session, has: Carried) -> None:
    """Replace the manager's copy of the site, unless it is the same."""
    files = site_files(session.loaded)
    digest = _digest(files, has.recipient)
    if has.site == digest:
        return
    with step(session.report, "copy the site", session.manager.name):
        packed = _packed(files, session.vault, has.recipient)
        _there(session.manager, "site", digest, stdin=packed)


def site_files(loaded: LoadedSite) -> dict[str, Path]:
    """The files of the site that jobs need, by their names in it, in a fixed order.

    Of the vault, JOBS_VAULT to be read there; the others as they are, for snapshots: the manager
    cannot open them, and finds them in `sealed/`.
    """
    site, folder = loaded.site, loaded.folder
    backup = site.backup
    named = [site.acme.ca, site.acme.trust, backup.ca if backup else None, *site.playbooks]
    names = {SITE_FILE, "known_hosts", *filter(None, named)}
    for app in filter(None, (app.stack for app in loaded.apps.values())):
        beside = (folder / app).parent
        names |= {app} if beside == folder else _below(folder, beside)
    for part in ("apps", "recipes"):
        names |= _below(folder, folder / part)
    found = {name: folder / name for name in names if (folder / name).is_file()}
    for path in sorted(loaded.vault.glob("[!.]*.age")):
        place = "vault" if path.stem in JOBS_VAULT else "sealed"
        found[f"{place}/{path.name}"] = path
    return dict(sorted(found.items()))


def _below(site: Path, folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix() for path in paths if path.suffix != ".pyc"}


def _digest(files: dict[str, Path], recipient: str) -> str:
    digest = hashlib.sha256(recipient.encode())
    for name, path in files.items():
        content = path.read_bytes()
        executable = path.stat().st_mode & 0o100
        digest.update(f"\0{name}\0{executable}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _packed(files: dict[str, Path], vault: Vault, recipient: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:

        def add(name: str, content: bytes, mode: int = 0o600) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))

        for name, path in files.items():
            if name.startswith("vault/"):
                add(name, encrypted_to(vault.read(path.stem), [recipient]))
            else:
                # Digests of recipes tell whether a file can be executed.
                add(name, path.read_bytes(), 0o700 if path.stat().st_mode & 0o100 else 0o600)
        add(RECIPIENTS_FILE, f"{recipient}\n".encode())
    return packed.getvalue()


def _authorize(session: Session, reality: Reality, key: str) -> None:
    """Let the manager's key log in to every server, and former managers' no more."""
    site = session.loaded.site
    line = _line(site, key)
    wrong = [n for n, facts in reality.facts.items() if list(facts.carried.authorized) != [line]]

    def one(runner: Runner) -> None:
        user = site.servers[runner.name].user
        _there(runner, "authorize", user, _mark(site), stdin=line.encode())

    _, failures = session.servers.on_each(one, wrong)
    for error in failures.values():
        raise error


def _line(site: Site, key: str) -> str:
    """The line of `authorized_keys` for the manager's key: from its own address, where that is
    an address and not a name that may get another."""
    address = site.manager.address
    options = "no-agent-forwarding,no-X11-forwarding"
    if is_address(address):
        options = f'from="{address}",{options}'
    return f"{options} {key} {_mark(site)}"


def _mark(site: Site) -> str:
    return f"ronron-manager {site.name}"


def _target(seen: ServerFacts) -> program.Target:
    return program.Target(seen.python, seen.machine)


def _for(manager: str, target: program.Target) -> bytes:
    try:
        return program.bundle(target)
    except RonronError as error:
        told = ServerError(manager, error.message, remedy=error.remedy, details=error.details)
        raise told from error


def _there(runner: Runner, *words: str, stdin: bytes = b"") -> bytes:
    """Run a command of `servers/carry/manager.py` on a server; what it printed."""
    script = resources.files("ronron.servers.carry").joinpath("manager.py").read_text()
    done = runner.run(
        ["python3", "-c", script, *words], stdin=stdin, check=False, timeout=INSTALL_SECONDS
    )
    if done.status:
        lines = done.stderr.decode(errors="replace").splitlines()
        raise ServerError(
            runner.name,
            f"ronron could not be carried there ({words[0]})",
            remedy="correct what is said below and run ronron apply again",
            details=[line for line in lines if line.strip()][-5:],
        )
    return done.stdout
