"""Apps that hold nothing but files, in a lab: what backups are measured on."""

from __future__ import annotations

from pathlib import Path

from laboratory import Laboratory
from measure import timed

from ronron.lab import find

STACK = """\
x-ronron:
  title: Heap
  license: MIT
  volumes: {data: {class: files, uid: 65534, gid: 65534, mode: "0755"}}
services:
  keeper:
    image: hello:1.0
    user: "65534:65534"
    init: true
    command: [sleep, infinity]
    healthcheck:
      {test: [CMD, test, -d, /data], interval: 30s, start_interval: 1s, start_period: 10s}
    volumes: [{type: volume, source: data, target: /data, volume: {nocopy: true}}]
    deploy: {resources: {limits: {memory: 32M}}}
volumes: {data: {}}
"""

# Makes so many files of so many random bytes each, a hundred in each folder.
FILL = """
import os, sys
root, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(count):
    folder = os.path.join(root, str(number // 100))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, str(number)), "wb") as file:
        file.write(os.urandom(size))
"""


def declare(site: Path, names: list[str], repository: str) -> None:
    """Add apps of the recipe `heap`, and where backups go, to a site's files."""
    (site / "recipes" / "heap").mkdir(parents=True, exist_ok=True)
    (site / "recipes" / "heap" / "stack.yml").write_text(STACK)
    (site / "apps").mkdir(exist_ok=True)
    for name in names:
        (site / "apps" / f"{name}.yml").write_text("recipe: heap\n")
    path = site / "ronron.yml"
    if "\nbackup:" not in path.read_text():
        path.write_text(path.read_text() + f"\nbackup: {{repository: '{repository}'}}\n")


def volume(app: str) -> str:
    """Where an app's files are, on the manager."""
    return f"/srv/ronron/volumes/{app}/data"


def there(laboratory: Laboratory, *argv: str, server: str = "manager") -> tuple[float, str]:
    """Run a command on a server, past ronron; the seconds that it took, and what it wrote."""
    lab = find(laboratory.name)
    assert lab is not None
    return timed(["docker", "exec", lab.server(server).container, *argv])


def fill(laboratory: Laboratory, app: str, count: int, size: int) -> None:
    """Give an app `count` files of `size` random bytes."""
    there(laboratory, "python3", "-c", FILL, volume(app), str(count), str(size))
