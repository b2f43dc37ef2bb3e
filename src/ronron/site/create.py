"""Making a new site: a folder of plain files that explain themselves."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from string import Template

from ronron.errors import OperatorError, Problem, SiteError
from ronron.site import reading, schema, yamltext
from ronron.site.files import write_atomically
from ronron.site.load import SITE_FILE, parse_site
from ronron.site.vault import RECIPIENTS_FILE, create_key

TEMPLATES = ("ronron.yml", "README.md")
GITIGNORE = """\
# The vault's key is kept elsewhere. Should it ever be copied here, git must not have it.
*.key
"""


def init_site(folder: Path, *, name: str, domain: str, contact: str, key: Path) -> str:
    """Make a site in `folder`, and the key at `key` unless it is there; returns its recipient.

    The folder becomes a git repository where git is installed. Files that are already there,
    such as a README, are kept. Raises OperatorError when it is a site already, and SiteError
    when name, domain or contact are not valid.
    """
    if (folder / SITE_FILE).exists():
        raise OperatorError(f"{folder} is a ronron site already", remedy="cd into it")
    values = {"name": name, "domain": domain, "contact": contact}
    values = {key: yamltext.inline(value) for key, value in values.items()}
    texts = {
        file: Template((files("ronron.site") / "new" / file).read_text()).substitute(values)
        for file in TEMPLATES
    }
    found: list[Problem] = []
    if parse_site(reading.parse(texts["ronron.yml"], SITE_FILE), found) is None:
        raise SiteError(found)
    recipient = create_key(key)
    try:
        _write(folder, texts, recipient)
    except OSError as error:
        raise OperatorError(f"{folder}: cannot be written: {error.strerror}") from error
    return recipient


def _write(folder: Path, texts: dict[str, str], recipient: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for empty in ("apps", "recipes", "vault"):
        (folder / empty).mkdir(exist_ok=True)
        (folder / empty / ".gitkeep").touch()
    write_schemas(folder)
    contents = {
        "README.md": texts["README.md"],
        ".gitignore": GITIGNORE,
        "known_hosts": "",
        RECIPIENTS_FILE: "# Public keys that the vault is encrypted to, one a line.\n"
        f"{recipient}\n",
        SITE_FILE: texts["ronron.yml"],
    }
    for name, text in contents.items():
        if not (folder / name).exists():
            write_atomically(folder / name, text.encode())
    if shutil.which("git") and not _in_git(folder):
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=folder, check=False)


def write_schemas(folder: Path) -> None:
    """Write the JSON Schemas that the site's files name in their first line."""
    (folder / ".schema").mkdir(exist_ok=True)
    for kind in schema.KINDS:
        write_atomically(folder / ".schema" / f"{kind}.json", schema.schema_text(kind).encode())


def _in_git(folder: Path) -> bool:
    return any((place / ".git").exists() for place in (folder, *folder.absolute().parents))
