"""`ronron apply`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.errors import RonronError

if TYPE_CHECKING:
    from ronron.plan.apply import Done
    from ronron.plan.model import Plan
    from ronron.plan.observe import Reality
    from ronron.plan.session import Session
    from ronron.site.load import LoadedSite


@click.command()
@context.timeout_option(300.0, "Seconds that each app may take to answer.")
@context.json_option
@context.yes_option
@context.with_site
def apply(loaded: LoadedSite, timeout: float, as_json: bool, yes: bool) -> None:
    """Make servers and apps what the site says.

    Shows the plan and asks before anything is changed. Run it twice and the second changes
    nothing; one that was interrupted is finished by the next.
    """
    while _round(loaded, timeout, as_json, yes):
        output.note(f"{loaded.site.manager.name} answers for its swarm again")


def _round(loaded: LoadedSite, timeout: float, as_json: bool, yes: bool) -> bool:
    """Plan, ask and carry out; returns whether the swarm could not be seen before, so that it is
    still to be compared."""
    from ronron.cli.changes import show
    from ronron.plan import carry, interrupted
    from ronron.plan.apply import apply as carry_out
    from ronron.plan.apply import check
    from ronron.plan.lock import lock
    from ronron.plan.session import open_session, plan

    began = time.monotonic()
    done: Sequence[Done] = ()
    with output.reporter() as report, open_session(loaded, report) as session:
        made, reality = plan(session)
        if interrupted.apps(reality) and not made.unseen:
            with lock(session.manager, "ronron apply"):
                back = interrupted.take_back(session)
            output.note(f"interrupted restores, data put back: {', '.join(back)}")
            made, reality = plan(session)
        if made.empty and not made.failures:
            carry.follow(session, reality)
    show(made, as_json)
    check(made, reality)
    if made.empty and not (made.unseen or loaded.site.playbooks):
        return False
    if not made.empty:
        output.confirm(f"Apply this to {loaded.site.name}?", yes)
    with (
        output.reporter() as report,
        open_session(loaded, report) as session,
        lock(session.manager, "ronron apply"),
    ):
        if not made.empty or made.unseen:
            made, reality = _planned_again(session, made, yes)
            done = carry_out(session, made, reality, seconds=timeout)
        if loaded.site.playbooks and not made.unseen:
            from ronron.servers import playbooks

            playbooks.run_playbooks(loaded, report)
    say = output.note if as_json else output.result
    for item in done:
        if item.answer:
            say(f"{item.app} answers at {item.answer.url} (HTTP {item.answer.status})")
        for old in item.kept:
            output.note(f"{item.app}: the old copy of its data is kept on {old.server}: {old.path}")
    output.note(f"applied in {time.monotonic() - began:.1f} s")
    return bool(made.unseen)


def _planned_again(session: Session, shown: Plan, yes: bool) -> tuple[Plan, Reality]:
    """The plan as it is now that nobody else changes the site: what was shown may have waited.

    Raises RonronError when it is no longer the one that was confirmed.
    """
    from ronron.plan.apply import check
    from ronron.plan.session import plan

    made, reality = plan(session)
    check(made, reality)
    if made.changes != shown.changes and not yes:
        raise RonronError(
            "the servers are no longer as they were when the plan was shown; nothing was changed",
            remedy="run ronron apply again and look at the new plan",
        )
    return made, reality
