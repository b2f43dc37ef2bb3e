"""One app deployed by name: its file written, planned alone, and carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ronron.catalog.recipe import find
from ronron.errors import OperatorError, SiteError
from ronron.plan import carry
from ronron.plan.apply import Done, deploy, wait_for_answer
from ronron.plan.lock import lock
from ronron.plan.make import read_secrets, recipe_of, rendered, with_mail
from ronron.plan.model import AppChange
from ronron.plan.observe import Reality
from ronron.plan.session import Session, plan
from ronron.site import edit
from ronron.site.files import write_atomically
from ronron.site.load import LoadedSite, app_file, load_site
from ronron.site.logs import STORES
from ronron.site.models import App
from ronron.swarm.converge import NotConverged
from ronron.swarm.engines import engine_of

if TYPE_CHECKING:
    from ronron.plan.stack_source import Brought


@dataclass(frozen=True)
class Request:
    """What the operator asked to deploy; `source` is a recipe's name, or a stack file's path."""

    name: str
    source: str | Path
    domain: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    web: str | None = None
    allow_host_paths: bool = False
    replace_passwords: bool = False


@dataclass
class Draft:
    """The site with an app's file as a request changed it; `begun` once the servers are told."""

    loaded: LoadedSite
    begun: bool = False


@contextmanager
def prepared(loaded: LoadedSite, request: Request) -> Iterator[Draft]:
    """Write the app's file as the request asks, and yield the site with it.

    The files are put back as they were when nothing was begun, when the app turns out to be the
    operator's mistake, and when the swarm went back to the old version.
    """
    known = loaded.apps.get(request.name)
    brought = None
    if isinstance(request.source, Path):
        if known and known.recipe:
            raise _other(known)
        from ronron.plan import stack_source

        brought = stack_source.bring(loaded, request, request.source)
    touched = [loaded.folder / app_file(request.name), *(brought.files if brought else ())]
    if brought and brought.secrets:
        touched.append(loaded.vault / f"{request.name}.age")
    before = {path: path.read_bytes() if path.exists() else None for path in touched}
    draft = None
    try:
        _write(loaded, request, brought)
        draft = Draft(load_site(loaded.folder))
        yield draft
    except BaseException as error:
        begun = draft is not None and draft.begun
        undone = isinstance(error, NotConverged) and error.rolled_back
        if not begun or undone or isinstance(error, OperatorError):
            for path, content in before.items():
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    write_atomically(path, content)
        raise


def _write(loaded: LoadedSite, request: Request, brought: Brought | None) -> None:
    known = loaded.apps.get(request.name)
    content: dict[str, Any] = known.model_dump(exclude_defaults=True) if known else {}
    content["name"] = request.name
    if brought is not None:
        content["stack"] = brought.stack
    else:
        content["recipe"] = _recipe(loaded, request, known)
    if request.domain:
        content["domain"] = request.domain
    if request.web:
        content["web"] = request.web
    for section in ("parameters", "replicas", "images"):
        given = dict(getattr(request, section))
        if section == "replicas":
            given = {key: _number(value) for key, value in given.items()}
        if given:
            content[section] = {**content.get(section, {}), **given}
    app = _model(request.name, content)  # A wrong name must not become a path.
    if brought is not None:
        from ronron.plan import stack_source

        stack_source.write(loaded, app.name, brought)
    edit.write_app(loaded.folder, app)


def _recipe(loaded: LoadedSite, request: Request, known: App | None) -> str:
    name = str(request.source)
    if known and known.recipe != name:
        raise _other(known)
    find(name, loaded.recipes)
    return name


def _other(known: App) -> OperatorError:
    return OperatorError(
        f"{app_file(known.name)}: is there already, from {known.recipe or known.stack}",
        remedy="choose another name, or ronron remove it first",
    )


def _number(value: str) -> int | str:
    return int(value) if value.isdecimal() else value


def _model(name: str, content: Mapping[str, Any]) -> App:
    from ronron.site.load import parse_app

    problems: list[Any] = []
    data = {key: value for key, value in content.items() if key != "name"}
    app = parse_app(name, data, problems)
    if app is None or problems:
        raise SiteError(problems)
    return app


def plan_one(session: Session, name: str) -> tuple[AppChange | None, Reality]:
    """Plan one app; None when it is as declared already.

    Raises OperatorError when the platform is not there to take it.
    """
    made, reality = plan(session, [name])
    manager = session.loaded.site.manager.name
    if manager in reality.failures:
        raise reality.failures[manager]
    if not reality.swarm.present or not reality.swarm.records.get("proxy"):
        raise OperatorError(
            f"{manager} shows no swarm that has the platform", remedy="run ronron apply first"
        )
    return (made.apps[0] if made.apps else None), reality


def notes(session: Session, name: str, change: AppChange | None) -> tuple[str, ...]:
    """What was translated in a plain stack file; what is still to be done for a new log store."""
    app = session.loaded.apps[name]
    found = recipe_of(app, session.loaded, session.catalog).notes
    if app.recipe in STORES and change is not None and change.action == "create":
        found = (*found, f"servers send their log lines to {name} from the next ronron apply on")
    return found


def carry_out(
    session: Session,
    draft: Draft,
    name: str,
    change: AppChange | None,
    reality: Reality,
    *,
    seconds: float,
) -> Done:
    """Deploy what `plan_one` planned; an app that is as declared is only asked whether it answers.

    Raises RonronError when it does not run or answer, or another holds the site's lock.
    """
    if change is not None:
        with lock(session.manager, f"ronron deploy {name}"):
            draft.begun = True
            done = deploy(session, change, reality, seconds=seconds)
            carry.follow(session, reality)
            return done
    draft.begun = True
    app = session.loaded.apps[name]
    recipe = recipe_of(app, session.loaded, session.catalog)
    secrets = read_secrets(app, recipe, session.vault, deployed=True)
    secrets = with_mail(secrets, app, recipe, session.loaded.site, session.vault)
    stack, _ = rendered(app, recipe, session.loaded.site, secrets, reality.link_mtu)
    with engine_of(session.manager) as engine:
        return Done(name, "unchanged", wait_for_answer(session, engine, stack, seconds))


def restored(loaded: LoadedSite, content: Mapping[str, Any]) -> LoadedSite:
    """Write an app's file as a record has it, and return the site with it."""
    app = App.model_validate(content)
    edit.write_app(loaded.folder, app)
    return replace(loaded, apps={**loaded.apps, app.name: app})
