"""Planning many apps of three services against the recording of a swarm.

`planning.py FOLDER` plans once: the site's files and the vault's are read, each app is rendered,
and compared with the swarm as recorded. The whole process is timed, as an operator waits for it.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import PYTHON, Result, alternate, say, timed

SMALL, LARGE = 1_000, 10_000
REPETITIONS = 3
SECONDS = 3.0
MEBIBYTES = 400.0
HERE = Path(__file__).resolve().parent


def measure() -> list[Result]:
    """Seconds for the smaller site, how many times that the larger takes, and peak memories."""
    with tempfile.TemporaryDirectory(prefix="ronron-bench-") as temporary:
        peaks: dict[int, float] = {}

        def once(count: int) -> float:
            seconds, text = timed([PYTHON, HERE / "planning.py", Path(temporary) / str(count)])
            told = json.loads(text)
            peaks[count] = max(peaks.get(count, 0.0), told["peak"])
            return seconds

        for count in (SMALL, LARGE):
            say(f"planning: recording a swarm of {count} apps")
            # In a process of its own: a process's peak memory is at least that of the process
            # that started it.
            timed([PYTHON, HERE / "recorded.py", Path(temporary) / str(count), str(count)])
        say("planning: measuring")
        small, large = alternate(REPETITIONS, lambda: once(SMALL), lambda: once(LARGE))
    times = statistics.median(large) / statistics.median(small)
    return [
        Result(f"plan {SMALL} apps", statistics.median(small), "s", SECONDS),
        Result(f"plan {LARGE} apps / plan {SMALL} apps", times, "ratio", LARGE / SMALL),
        Result(f"peak memory, plan {SMALL} apps", peaks[SMALL], "MiB", MEBIBYTES),
        Result(f"peak memory, plan {LARGE} apps", peaks[LARGE], "MiB", MEBIBYTES),
    ]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a recording, one at a time."""
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def plan_once(folder: Path) -> dict[str, float]:
    """Plan the site of `folder` once; how many apps would change, and the peak memory in MiB."""
    from recorded import CHANGES

    from ronron.catalog.recipe import Catalog
    from ronron.plan.make import make
    from ronron.plan.observe import Reality
    from ronron.servers.provision.model import ProvisioningPlan
    from ronron.site.load import load_site
    from ronron.site.vault import Vault
    from ronron.swarm import facts, state

    loaded = load_site(folder / "site")
    kinds = ("nodes", "services", "configs", "secrets", "networks")
    swarm = state.from_api(**{kind: lines(folder / "swarm" / f"{kind}.jsonl") for kind in kinds})
    answers = json.loads((folder / "swarm" / "facts.json").read_text())
    reality = Reality({name: facts.parse(answer) for name, answer in answers.items()}, {}, swarm)
    vault = Vault(loaded.folder, folder / "site.key")
    plan = make(loaded, reality, ProvisioningPlan(), Catalog(loaded.recipes), vault)
    if len(plan.apps) != CHANGES or plan.nodes or plan.network:
        raise RuntimeError(f"{len(plan.apps)} apps would change, {CHANGES} should")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"changes": len(plan.apps), "peak": peak}


if __name__ == "__main__":
    print(json.dumps(plan_once(Path(sys.argv[1]))))
