"""The corpus of plain stack files in `tests/stacks`, and what each becomes.

`NAME.yml` is a file as found in the wild; comments at its head say how it is deployed
(`# domain:`, `# web:`, `# set: KEY=VALUE`, `# secrets`, `# allow-host-paths`) and whether it is
`# refused`. What it reads beside itself is in the folder `NAME/`. `NAME.out.yml` is what it must
become. After a change that is meant, write them all again and read the difference:

    python tests/stack_corpus.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ronron.catalog.stackfile import StackFile, translate
from ronron.errors import SiteError

FOLDER = Path(__file__).parent / "stacks"


@dataclass(frozen=True)
class Case:
    """One file of the corpus, and how it is deployed."""

    name: str
    text: str
    options: dict[str, list[str]]

    @property
    def refused(self) -> bool:
        return "refused" in self.options

    @property
    def domain(self) -> str | None:
        return self.options.get("domain", [None])[0]

    @property
    def golden(self) -> Path:
        return FOLDER / f"{self.name}.out.yml"

    def translate(self) -> StackFile:
        return translate(
            self.text,
            name="app",
            file=f"{self.name}.yml",
            folder=FOLDER / self.name,
            variables=dict(pair.split("=", 1) for pair in self.options.get("set", [])),
            domain=self.domain,
            allow_host_paths="allow-host-paths" in self.options,
            secrets="secrets" in self.options,
            web=self.options.get("web", [None])[0],
        )

    def outcome(self) -> dict[str, Any]:
        """What `NAME.out.yml` holds."""
        try:
            found = self.translate()
        except SiteError as error:
            return {"refused": [str(problem) for problem in error.problems]}
        extension = found.recipe.extension.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude={"title", "license"}
        )
        outcome = {"notes": list(found.recipe.notes), "x-ronron": extension, **found.recipe.stack}
        for key in ("hosts", "files"):
            if values := getattr(found, key):
                outcome[key] = list(values)
        if found.secrets:
            outcome["secrets-in-files"] = sorted(found.secrets)
        return json.loads(json.dumps(outcome))  # type: ignore[no-any-return]


def cases() -> list[Case]:
    """Every file of the corpus."""
    return [_case(path) for path in sorted(FOLDER.glob("*.yml")) if ".out." not in path.name]


def _case(path: Path) -> Case:
    text = path.read_text("utf-8")
    options: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        key, _, value = line[2:].partition(": ")
        if key in ("domain", "web", "set", "secrets", "refused", "allow-host-paths"):
            options.setdefault(key, []).append(value)
    return Case(path.stem, text, options)


def dump(outcome: dict[str, Any]) -> str:
    """Write an outcome for a reader."""
    return yaml.safe_dump(outcome, sort_keys=False, allow_unicode=True, width=100)


if __name__ == "__main__":
    for case in cases():
        case.golden.write_text(dump(case.outcome()), "utf-8")
