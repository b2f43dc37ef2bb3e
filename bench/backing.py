"""`ronron backup` and `restore` beside bare restic, on 2 GiB in 20,000 files, and on twenty apps.

Both sides begin with an empty repository each time, on the same disk of the lab's manager. Ours is
the whole command, from the operator's computer: dumps there are none. A restore of ours verifies
what it wrote, so restic does too (`--verify`); ours also stops and starts the app.
"""

from __future__ import annotations

from heap import declare, fill, there, volume
from laboratory import Laboratory
from measure import Result, alternate, ratio, say

FILES, SIZE = 20_000, (2 << 30) // 20_000
APPS = 20
ROUNDS = 3
REPOSITORY, BARE, TARGET = "/srv/repository", "/srv/bare", "/srv/bare-restored"
RESTIC = ("env", "RESTIC_PASSWORD=bench", "restic", "--quiet", "-r", BARE)


def measure(laboratory: Laboratory) -> list[Result]:
    """The ratios, and the seconds behind them."""
    apps = [f"heap-{number}" for number in range(APPS)]
    declare(laboratory.site, ["heap", *apps], REPOSITORY)
    say("backing: apply")
    laboratory.ronron("apply", "--yes")
    laboratory.ronron("backup", "init")
    say("backing: making files")
    fill(laboratory, "heap", FILES, SIZE)
    say("backing: measuring one app")
    backups, bare_backups = alternate(
        ROUNDS,
        lambda: _ours(laboratory, "heap"),
        lambda: _bare(laboratory, volume("heap")),
    )
    restores, bare_restores = alternate(
        ROUNDS, lambda: _restore(laboratory), lambda: _bare_restore(laboratory)
    )
    there(laboratory, "sh", "-c", f"rm -rf {volume('heap')}/* {REPOSITORY} {BARE}")
    for app in apps:
        fill(laboratory, app, FILES // APPS, SIZE)
    laboratory.ronron("remove", "heap", "--yes", "--delete-data")
    say("backing: measuring twenty apps")
    all_ours, all_bare = alternate(
        ROUNDS,
        lambda: _ours(laboratory),
        lambda: _bare(laboratory, *map(volume, apps)),
    )
    return [
        Result("backup of 2 GiB / restic backup", ratio(backups, bare_backups), "ratio", 1.1),
        Result.median("backup of 2 GiB", backups, "s"),
        Result.median("restic backup of 2 GiB", bare_backups, "s"),
        Result("restore of 2 GiB / restic restore", ratio(restores, bare_restores), "ratio", 1.1),
        Result.median("restore of 2 GiB", restores, "s"),
        Result.median("restic restore of 2 GiB", bare_restores, "s"),
        Result("backup of 20 apps / one restic backup", ratio(all_ours, all_bare), "ratio", 1.2),
        Result.median("backup of 20 apps, 2 GiB", all_ours, "s"),
        Result.median("restic backup of their folders at once", all_bare, "s"),
    ]


def _ours(laboratory: Laboratory, *apps: str) -> float:
    there(laboratory, "rm", "-rf", REPOSITORY)
    laboratory.ronron("backup", "init")
    return laboratory.ronron("backup", *apps)


def _bare(laboratory: Laboratory, *folders: str) -> float:
    there(laboratory, "rm", "-rf", BARE)
    there(laboratory, *RESTIC, "init")
    return there(laboratory, *RESTIC, "backup", *folders)[0]


def _restore(laboratory: Laboratory) -> float:
    seconds = laboratory.ronron("restore", "heap", "--yes")
    there(laboratory, "sh", "-c", "rm -rf /srv/ronron/volumes/.replaced/*")
    return seconds


def _bare_restore(laboratory: Laboratory) -> float:
    words = ("restore", "latest", "--verify", "--target", TARGET)
    seconds, _ = there(laboratory, *RESTIC, *words)
    there(laboratory, "rm", "-rf", TARGET)
    return seconds
