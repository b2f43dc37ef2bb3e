"""Loading a site: its folder in, models out, or every fault of every file at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ronron.errors import OperatorError, Problem, SiteError
from ronron.site import faults, logs, reading, security
from ronron.site.models import RESERVED_APPS, App, Site

SITE_FILE = "ronron.yml"


@dataclass(frozen=True)
class LoadedSite:
    """A site as declared: its folder, `ronron.yml`, and its apps by name."""

    folder: Path
    site: Site
    apps: dict[str, App]

    @property
    def known_hosts(self) -> Path:
        """The pinned SSH host keys."""
        return self.folder / "known_hosts"

    @property
    def vault(self) -> Path:
        """The folder of the apps' encrypted secrets."""
        return self.folder / "vault"

    @property
    def recipes(self) -> Path:
        """The folder of the operator's own recipes."""
        return self.folder / "recipes"

    def path(self, name: str) -> Path:
        """Where a file named in the site (a stack, a playbook, a CA) is."""
        return self.folder / name

    def domain(self, app: App) -> str:
        """Where `app` is reached: its own domain, or its name below the site's."""
        return domain_of(app, self.site)

    def app(self, name: str) -> App:
        """The app called `name`. Raises OperatorError when there is none."""
        if name not in self.apps:
            from ronron.site.values import suggestion

            raise OperatorError(
                f"there is no app {name} in this site",
                remedy=suggestion(name, self.apps) or "see ronron list",
            )
        return self.apps[name]


def domain_of(app: App, site: Site) -> str:
    """Where `app` is reached in `site`."""
    return app.domain or f"{app.name}.{site.domain}"


def app_file(name: str) -> str:
    """The file of the app `name`, from the site's folder: as errors name it."""
    return f"apps/{name}.yml"


def find_site(start: Path) -> Path:
    """The folder of the site that `start` is in: the nearest one upwards with a `ronron.yml`.

    Raises OperatorError when there is none.
    """
    for folder in (start, *start.parents):
        if (folder / SITE_FILE).is_file():
            return folder
    raise OperatorError(
        f"{start} is not a ronron site", remedy="run ronron init NAME, or cd into a site"
    )


def load_site(folder: Path) -> LoadedSite:
    """The site in `folder`.

    Raises OperatorError when there is no `ronron.yml`, and SiteError with every fault of
    `ronron.yml` and `apps/*.yml` together.
    """
    if not (folder / SITE_FILE).exists():
        raise OperatorError(
            f"{folder} is not a ronron site", remedy="run ronron init NAME, or cd into a site"
        )
    found: list[Problem] = []
    site = parse_site(reading.read(folder / SITE_FILE, SITE_FILE), found)
    apps: dict[str, App] = {}
    for path in _app_paths(folder, found):
        file = app_file(path.stem)
        app = parse_app(path.stem, reading.read(path, file), found)
        if app:
            apps[app.name] = app
    found += _missing_files(folder, site, apps.values())
    if site:
        found += _domains_taken(site, apps.values())
        found += security.problems(site, apps.values())
        found += logs.problems(apps.values())
    if site is None or found:
        raise SiteError(found)
    return LoadedSite(folder, site, apps)


def parse_site(data: dict[str, Any] | Problem, found: list[Problem]) -> Site | None:
    """The site from what `ronron.yml` holds, or None with the faults added to `found`."""
    if isinstance(data, Problem):
        found.append(data)
        return None
    servers = data.get("servers")
    keys: dict[str, str] = {}
    if isinstance(servers, dict):
        keys = {f"servers.{key}.name": f"servers.{key}" for key in servers}
        for key, server in servers.items():
            if isinstance(server, dict) and server.pop("name", server) is not server:
                remedy = "a server's name is its key under servers"
                found.append(Problem(SITE_FILE, f"servers.{key}.name", "unknown key", remedy))
    try:
        return Site.model_validate(data)
    except ValidationError as error:
        for problem in faults.problems(error, Site, SITE_FILE):
            found.append(replace(problem, path=keys.get(problem.path, problem.path)))
        return None


def parse_app(name: str, data: dict[str, Any] | Problem, found: list[Problem]) -> App | None:
    """The app `name` from what its file holds, or None with the faults added to `found`."""
    file = app_file(name)
    if isinstance(data, Problem):
        found.append(data)
        return None
    before = len(found)
    if name in RESERVED_APPS:
        found.append(Problem(file, "", f"{name} is an app of the platform", "rename the file"))
    if "name" in data:
        found.append(Problem(file, "name", "unknown key", "an app's name is its file's"))
    try:
        app = App.model_validate({**data, "name": name})
    except ValidationError as error:
        for problem in faults.problems(error, App, file):
            path = "" if problem.path == "name" else problem.path
            found.append(replace(problem, path=path))
        return None
    return app if len(found) == before else None


def _app_paths(folder: Path, found: list[Problem]) -> list[Path]:
    """The apps' files, sorted by name; files that look like one by mistake are faults."""
    try:
        entries = sorted((folder / "apps").iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        found.append(Problem("apps", "", f"cannot be read: {error.strerror}"))
        return []
    for path in entries:
        if path.suffix in (".yaml", ".YML", ".YAML") and not path.name.startswith("."):
            remedy = f"rename it to {path.stem}.yml"
            found.append(Problem(f"apps/{path.name}", "", "is not read", remedy))
    return [path for path in entries if path.suffix == ".yml" and not path.name.startswith(".")]


def _missing_files(folder: Path, site: Site | None, apps: Iterable[App]) -> list[Problem]:
    named: list[tuple[str, str, str]] = []
    if site:
        named += [(SITE_FILE, f"playbooks.{i}", name) for i, name in enumerate(site.playbooks)]
        for key, name in (("acme.ca", site.acme.ca), ("acme.trust", site.acme.trust)):
            named += [(SITE_FILE, key, name)] if name else []
    named += [(app_file(app.name), "stack", app.stack) for app in apps if app.stack]
    return [
        Problem(file, key, f"there is no file {name} in the site", "copy it there")
        for file, key, name in named
        if not (folder / name).is_file()
    ]


def _domains_taken(site: Site, apps: Iterable[App]) -> list[Problem]:
    taken: dict[str, str] = {}
    found = []
    for app in apps:
        other = taken.setdefault(domain_of(app, site), app.name)
        if other != app.name:
            message = f"{domain_of(app, site)} is already taken by app {other} ({app_file(other)})"
            found.append(Problem(app_file(app.name), "domain", message, "choose another domain"))
    return found
