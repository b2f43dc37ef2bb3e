"""`make try`: the time of each step, on a lab of the bench's own.

The steps are those of `scripts/try.py`, once the environment and the Docker engine are there. What
kind of run it was is seen from the images: `cold` when none of them was there, `warm` when none had
to be built; `again` is with everything there, lab and blog too.
"""

from __future__ import annotations

from laboratory import SERVERS, Laboratory, laboratory
from measure import Result, say

from ronron.catalog.stack import REGISTRY
from ronron.engine.client import connect

COLD, WARM = 900.0, 180.0
LAB = "bench-try"
IMAGES = (f"{REGISTRY}/", "ronron-lab-")
"""How the images begin that ronron builds for apps, and for labs."""


def measure() -> list[Result]:
    """The time of all steps, and of each; a run that is not warm is followed by one that is."""
    results: list[Result] = []
    while True:
        before = images()
        with laboratory(LAB, bare=True) as made:
            steps = run(made)
            built = images() - before
            if not built:
                again = run(made)
                break
        if not before:
            results.append(Result("make try, cold", sum(steps.values()), "s", COLD))
        say(f"trying: {len(built)} images were built, so this was not warm: once more")
    results.append(Result("make try, warm", sum(steps.values()), "s", WARM))
    results += [Result(f"make try, warm: {name}", took, "s") for name, took in steps.items()]
    results.append(Result("make try, again", sum(again.values()), "s"))
    return results


def run(made: Laboratory) -> dict[str, float]:
    """Do all the steps; the seconds that each took."""
    say("trying: lab, site, apply, deploy ghost")
    return {
        "lab up": made.lab("up", "--servers", str(SERVERS)),
        "lab site": made.lab("site", str(made.site)),
        "apply": made.ronron("apply", "--yes"),
        "deploy ghost": made.deploy("ghost", "blog"),
    }


def images() -> set[str]:
    """The images on this computer that ronron built."""
    with connect() as engine:
        tags = {tag for image in engine.images.list() for tag in image.tags}
    return {tag for tag in tags if tag.startswith(IMAGES)}
