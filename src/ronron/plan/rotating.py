"""New values for an app's secrets, in an order in which a crash leaves the app at work.

1. The vault keeps the new values as pending.
2. The database takes the new ones as well as the old.
3. In the vault the new values take the place of the old, which are kept as retired.
4. The services are updated to the new values.
5. The database takes the new ones alone, and the vault forgets the old.

Until 3 the old values are in force, after that the new ones are, and `apply` carries on with those.
Each step can be repeated, so that rotating again finishes what was interrupted. What fails before
the new values are known to work is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from ronron.errors import RonronError
from ronron.events import Report, step
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault


class Place(Protocol):
    """Where one app runs with its secrets. What fails raises RonronError."""

    def accept(self, name: str, old: Secret, new: Secret) -> None:
        """Let the database that knows the secret `name` take `new`, and `old` if it can."""
        ...

    def drop(self, name: str, old: Secret, new: Secret) -> None:
        """Let the database that knows the secret `name` take `new` alone."""
        ...

    def go_back(self, name: str, old: Secret, new: Secret) -> None:
        """Let the database that knows the secret `name` take `old` alone again."""
        ...

    def run_with(self, secrets: Secrets, names: tuple[str, ...]) -> None:
        """Give the services the values of the secrets `names`, and wait until the app works."""
        ...


def rotate(
    vault: Vault,
    app: str,
    wanted: Mapping[str, Secret | None],
    make: Callable[[str], Secret],
    place: Place,
    report: Report,
) -> tuple[str, ...]:
    """Give the secrets in `wanted` these values, or ones from `make` where it has None.

    An interrupted rotation is finished first, also of other secrets of the app; its values serve
    where none was asked for. Returns the names of all that have new values now. Raises RonronError
    when the new values do not work; the old ones do then, or it says that both may.
    """
    secrets = vault.read(app)
    finished = tuple(secrets.retired)
    if finished:
        secrets = _finish(vault, app, secrets, place, report)
    new = dict(secrets.pending)
    for name, value in wanted.items():
        if value is not None:
            new[name] = value
        elif name not in new and name not in finished:
            new[name] = make(name)
    new = {name: value for name, value in new.items() if value != secrets.values[name]}
    if new:
        secrets = _begin(vault, app, replace(secrets, pending=new), place, report)
        _finish(vault, app, secrets, place, report)
    elif secrets.pending:
        vault.write(app, replace(secrets, pending={}))
    return tuple(dict.fromkeys((*finished, *new)))


def _begin(vault: Vault, app: str, secrets: Secrets, place: Place, report: Report) -> Secrets:
    """Steps 1 to 3 for what is pending."""
    vault.write(app, secrets)
    try:
        for name, new in secrets.pending.items():
            with step(report, f"let both values of {name} work", app):
                place.accept(name, secrets.values[name], new)
    except RonronError as error:
        raise _taken_back(vault, app, secrets, place, report, error) from error
    secrets = replace(
        secrets,
        values={**secrets.values, **secrets.pending},
        pending={},
        retired={name: secrets.values[name] for name in secrets.pending},
    )
    vault.write(app, secrets)
    return secrets


def _finish(vault: Vault, app: str, secrets: Secrets, place: Place, report: Report) -> Secrets:
    """Steps 4 and 5 for what has retired values."""
    names = tuple(secrets.retired)
    try:
        place.run_with(secrets, names)
    except RonronError as error:
        old = replace(
            secrets,
            values={**secrets.values, **secrets.retired},
            pending={name: secrets.values[name] for name in names},
            retired={},
        )
        vault.write(app, old)
        try:
            place.run_with(old, names)
        except RonronError:
            raise _failed(app, names, error, _BOTH.format(app=app)) from error
        raise _taken_back(vault, app, old, place, report, error) from error
    try:
        for name, old_value in secrets.retired.items():
            with step(report, f"let the new {name} alone work", app):
                place.drop(name, old_value, secrets.values[name])
    except RonronError as error:
        raise RonronError(
            f"{app}: the new values work, but the old ones still do: {error.message}",
            remedy=f"ronron secrets rotate {app} finishes it",
            details=error.details,
        ) from error
    secrets = replace(secrets, retired={})
    vault.write(app, secrets)
    return secrets


_BOTH = "the old values may work or both; ronron secrets rotate {app} tries again"


def _taken_back(
    vault: Vault, app: str, secrets: Secrets, place: Place, report: Report, error: RonronError
) -> RonronError:
    """Let the database take the old values alone, and say that `error` was the reason."""
    names = tuple(secrets.pending)
    try:
        for name, new in secrets.pending.items():
            with step(report, f"let the old {name} alone work", app):
                place.go_back(name, secrets.values[name], new)
    except RonronError:
        return _failed(app, names, error, _BOTH.format(app=app))
    vault.write(app, replace(secrets, pending={}))
    return _failed(app, names, error, "the old values are in force as before")


def _failed(app: str, names: tuple[str, ...], error: RonronError, now: str) -> RonronError:
    reason = error.message.removeprefix(f"{app}: ")
    return RonronError(
        f"{app}: {', '.join(names)} could not be changed: {reason}",
        remedy=now,
        details=error.details,
    )
