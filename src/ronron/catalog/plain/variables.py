"""A stack file's variables: what they are now, and which parameters they become."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ronron.catalog.interpolate import Step, compile, leaves
from ronron.catalog.plain import env_file
from ronron.catalog.plain.document import Document
from ronron.catalog.plain.reading import Reading
from ronron.catalog.recipe import Parameter
from ronron.errors import SiteError


def values(
    document: Document, folder: Path, given: Mapping[str, str], name: str, domain: str | None
) -> dict[str, str]:
    """The variables' values: the operator's, then `.env`, then what ronron itself knows."""
    known = {"app": name, "COMPOSE_PROJECT_NAME": name}
    if domain:
        known["domain"] = domain
    dotenv = folder / ".env"
    if dotenv.is_file():
        known |= env_file.parse(dotenv.read_text("utf-8"), ".env", given)
    known |= given
    if domain:
        for variable in _of_the_domain(document.tree):
            known.setdefault(variable, domain)
    return known


def rename_domain(tree: Any, given: Mapping[str, str]) -> None:  # noqa: ANN401 - any tree
    """Let variables that are the app's domain be `${domain}`, unless the operator gave them."""
    for name in _of_the_domain(tree) - set(given):
        pattern = re.compile(rf"\$(?:{name}\b|\{{{name}(?::?[-?+][^{{}}]*)?\}})")
        for steps, raw in list(leaves(tree)):
            if isinstance(raw, str) and pattern.search(raw):
                put(tree, steps, pattern.sub("${domain}", raw))


def put(tree: Any, steps: Sequence[Step], value: object) -> None:  # noqa: ANN401 - any tree
    """Write a leaf of a tree."""
    for step in steps[:-1]:
        tree = tree[step]
    tree[steps[-1]] = value


def _of_the_domain(tree: object) -> set[str]:
    """Names of variables that are the host of a rule, or called DOMAIN."""
    text = repr(tree)
    found = set(re.findall(r"(?:Host:\s*|Host(?:Header)?\([`\"'\\]+)\$\{?(\w+)", text))
    return found | ({"DOMAIN"} if re.search(r"\$\{?DOMAIN\b", text) else set())


def parameters(
    reading: Reading, tree: dict[str, Any], given: Mapping[str, str], fill: bool
) -> dict[str, Parameter]:
    """Declare what the operator may set: the file's variables; refuse those that are missing.

    Where they are not filled in now, their defaults are those of `.env`.
    """
    found: dict[str, Parameter] = {}
    known = reading.variables
    for steps, raw in leaves(tree):
        if not isinstance(raw, str) or "$" not in raw:
            continue
        try:
            template = compile(raw, reading.file)
            for name, need in template.variables().items():
                default = known.get(name, need.default)
                required = need.required and default is None and not fill
                if name not in ("app", "domain", "PWD"):
                    found.setdefault(name, Parameter(default=default, required=required))
            if fill:
                template.render(known)
        except SiteError as error:
            problem = error.problems[0]
            remedy = problem.remedy
            if any(name in problem.message.split() for name in _of_the_domain(raw)):
                remedy = "say where it answers: --domain NAME"
            reading.refuse(steps, problem.message.removesuffix(":"), remedy)
    reading.finish()
    for name in given:
        found.setdefault(name, Parameter())
    return found
