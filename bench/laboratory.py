"""The lab on which the subjects are measured, and its site."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import RONRON, say, timed

SERVERS = 3
TIMEOUT = "900"
"""Seconds that an app may take: images may have to be built first."""


@dataclass(frozen=True)
class Laboratory:
    """A lab, and the folder of its site."""

    name: str
    site: Path

    def ronron(self, *words: str) -> float:
        """Run `ronron` on the site, and return the seconds that it took."""
        return self.output(*words)[0]

    def output(self, *words: str) -> tuple[float, str]:
        """Run `ronron` on the site; the seconds that it took, and what it wrote."""
        return timed([RONRON, "--site", self.site, *words])

    def lab(self, *words: str) -> float:
        """Run `ronron lab` on this lab, and return the seconds that it took."""
        return timed([RONRON, "lab", *words, "--name", self.name])[0]

    def domain(self, app: str) -> str:
        """Where the app is reached."""
        return f"{app}.{self.name}.localhost"

    def deploy(self, recipe: str, app: str, *words: str) -> float:
        """Deploy an app, and return the seconds that it took."""
        return timed(self.deploy_command(recipe, app, *words))[0]

    def deploy_command(self, recipe: str, app: str, *words: str) -> list[str]:
        """The command that deploys an app and waits until it answers on a domain of its own."""
        options = ("--domain", self.domain(app), "--timeout", TIMEOUT, "--yes", *words)
        return [str(RONRON), "--site", str(self.site), "deploy", recipe, app, *options]

    def remove(self, apps: Sequence[str]) -> None:
        """Remove apps that were deployed."""
        for app in apps:
            self.ronron("remove", app, "--yes")


@contextmanager
def laboratory(name: str, *, bare: bool = False) -> Iterator[Laboratory]:
    """A new lab of three servers, its site applied unless it shall be `bare`; removed at the end.

    The images stay for the next one.
    """
    with tempfile.TemporaryDirectory(prefix="ronron-bench-") as folder:
        made = Laboratory(name, Path(folder) / "site")
        os.environ["RONRON_KEY_FILE"] = str(Path(folder) / "site.key")
        try:
            made.lab("down", "--keep-images")
            if not bare:
                say(f"lab {name}: up")
                made.lab("up", "--servers", str(SERVERS))
                made.lab("site", str(made.site))
                say(f"lab {name}: apply")
                made.ronron("apply", "--yes")
            yield made
        finally:
            del os.environ["RONRON_KEY_FILE"]
            made.lab("down", "--keep-images")
