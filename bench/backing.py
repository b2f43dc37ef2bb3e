"""`ronron backup` and `restore` beside bare restic, on 2 GiB in 20,000 files, and on twenty apps.

Both sides begin with an empty repository each time, on the same disk of the lab's manager. Ours is
the whole command, from the operator's computer: dumps there are none. A restore of ours verifies
what it wrote, so restic does too (`--verify`). Ours also stops and starts the app, and makes a
snapshot for each of the twenty; beside them stands what a person would do by hand for the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from heap import declare, fill, there, volume
from laboratory import Laboratory
from measure import Result, alternate, ratio, say

FILES, SIZE = 20_000, (2 << 30) // 20_000
APPS = 20
ROUNDS = 5
REPOSITORY, BARE, TARGET = "/srv/repository", "/srv/bare", "/srv/bare-restored"
RESTIC = ("env", "RESTIC_PASSWORD=bench", "restic", "--quiet", "-r", BARE)
# A restore by hand: beside the data, then the folders change places while the app stands still.
BY_HAND = """
set -e
data=$1 target=$2 service=$3; shift 3
"$@" restore latest --verify --target "$target"
docker service scale --detach "$service=0" >/dev/null
while [ -n "$(docker ps -q --filter "name=$service")" ]; do sleep 0.1; done
mv "$data" "$data.old"
mv "$target$data" "$data"
docker service scale --detach "$service=1" >/dev/null
until [ -n "$(docker ps -q --filter "name=$service" --filter health=healthy)" ]; do sleep 0.1; done
"""


def measure(laboratory: Laboratory) -> list[Result]:
    """The ratios, and the seconds behind them."""
    apps = [f"heap-{number}" for number in range(APPS)]
    declare(laboratory.site, ["heap"], REPOSITORY)
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
    lists = [there(laboratory, *RESTIC, "snapshots")[0] for _ in range(ROUNDS)]
    restores, bare_restores, by_hand = alternate(
        ROUNDS,
        lambda: _restore(laboratory),
        lambda: _bare_restore(laboratory),
        lambda: _restore_by_hand(laboratory),
    )
    there(laboratory, "rm", "-rf", REPOSITORY, BARE)
    laboratory.ronron("remove", "heap", "--yes", "--delete-data")
    declare(laboratory.site, apps, REPOSITORY)
    say("backing: apply")
    laboratory.ronron("apply", "--yes")
    for app in apps:
        fill(laboratory, app, FILES // APPS, SIZE)
    say("backing: measuring twenty apps")
    all_ours, all_bare, one_by_one = alternate(
        ROUNDS,
        lambda: _ours(laboratory),
        lambda: _bare(laboratory, *map(volume, apps)),
        lambda: _for_each(laboratory, map(volume, apps)),
    )
    return [
        Result("backup of 2 GiB / restic backup", ratio(backups, bare_backups), "ratio", 1.1),
        Result.median("backup of 2 GiB", backups, "s"),
        Result.median("restic backup of 2 GiB", bare_backups, "s"),
        Result.median("restic snapshots, which shows that one is there", lists, "s"),
        Result("restore of 2 GiB / restic restore", ratio(restores, bare_restores), "ratio", 1.1),
        Result.median("restore of 2 GiB", restores, "s"),
        Result.median("restic restore of 2 GiB", bare_restores, "s"),
        Result("restore of 2 GiB / by hand", ratio(restores, by_hand), "ratio"),
        Result.median("restore of 2 GiB by hand, the app stopped and started", by_hand, "s"),
        Result("backup of 20 apps / one restic backup", ratio(all_ours, all_bare), "ratio", 1.2),
        Result.median("backup of 20 apps, 2 GiB", all_ours, "s"),
        Result.median("restic backup of their folders at once", all_bare, "s"),
        Result("backup of 20 apps / restic for each", ratio(all_ours, one_by_one), "ratio"),
        Result.median("restic backup of each folder, three at a time", one_by_one, "s"),
    ]


def _ours(laboratory: Laboratory, *apps: str) -> float:
    there(laboratory, "rm", "-rf", REPOSITORY)
    laboratory.ronron("backup", "init")
    return laboratory.ronron("backup", *apps)


def _bare(laboratory: Laboratory, *folders: str) -> float:
    there(laboratory, "rm", "-rf", BARE)
    there(laboratory, *RESTIC, "init")
    return there(laboratory, *RESTIC, "backup", *folders)[0]


def _for_each(laboratory: Laboratory, folders: Iterable[str]) -> float:
    there(laboratory, "rm", "-rf", BARE)
    there(laboratory, *RESTIC, "init")
    each = ("xargs", "-n", "1", "-P", "3", *RESTIC, "backup")
    return there(laboratory, "sh", "-c", 'list=$1; shift; printf "%s\\n" $list | "$@"', "sh",
                 " ".join(folders), *each)[0]  # fmt: skip


def _restore(laboratory: Laboratory) -> float:
    seconds = laboratory.ronron("restore", "heap", "--yes")
    there(laboratory, "sh", "-c", "rm -rf /srv/ronron/volumes/.replaced/*")
    return seconds


def _bare_restore(laboratory: Laboratory) -> float:
    words = ("restore", "latest", "--verify", "--target", TARGET)
    seconds, _ = there(laboratory, *RESTIC, *words)
    there(laboratory, "rm", "-rf", TARGET)
    return seconds


def _restore_by_hand(laboratory: Laboratory) -> float:
    data = volume("heap")
    words = (data, TARGET, "heap_keeper", *RESTIC)
    seconds, _ = there(laboratory, "sh", "-c", BY_HAND, "sh", *words)
    there(laboratory, "rm", "-rf", TARGET, f"{data}.old")
    return seconds
