"""The whole catalog rendered and checked, and a vault of many secrets read.

`catalog.py all` renders and lints every built-in recipe once; `catalog.py read FOLDER` reads every
file of a vault through ronron, `catalog.py decrypt FOLDER` decrypts the same files with age alone.
Each is timed as a whole process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from measure import PYTHON, Result, alternate, say, timed

FILES, SECRETS = 100, 5
REPETITIONS = 5
CATALOG_SECONDS = 2.0
VAULT_SECONDS = 0.5
HERE = Path(__file__).resolve()


def measure() -> list[Result]:
    """Seconds for the catalog, and seconds that a vault takes beside the cost of age itself."""
    with tempfile.TemporaryDirectory(prefix="ronron-bench-") as temporary:
        fill(Path(temporary))
        say("catalog: measuring")
        catalog, read, decrypt = alternate(
            REPETITIONS,
            lambda: timed([PYTHON, HERE, "all"])[0],
            lambda: timed([PYTHON, HERE, "read", temporary])[0],
            lambda: timed([PYTHON, HERE, "decrypt", temporary])[0],
            warm_up=1,
        )
    beside = statistics.median(read) - statistics.median(decrypt)
    count = FILES * SECRETS
    return [
        Result.median("render and lint the whole catalog", catalog, "s", CATALOG_SECONDS),
        Result(f"read {count} secrets, beside age itself", beside, "s", VAULT_SECONDS),
        Result.median(f"age alone, {count} secrets", decrypt, "s"),
    ]


def fill(folder: Path) -> None:
    """Make a vault of so many files, with so many secrets each."""
    from ronron.site.vault import Secrets, Vault, create_key, generate

    (folder / "recipients.txt").write_text(create_key(folder / "key") + "\n")
    vault = Vault(folder, folder / "key")
    for number in range(FILES):
        secrets = {f"secret_{index}": generate() for index in range(SECRETS)}
        vault.write(f"app-{number}", Secrets(secrets))


def whole_catalog() -> int:
    """Render and lint every built-in recipe; returns how many there are."""
    from ronron.catalog import lint
    from ronron.catalog.recipe import Catalog, names
    from ronron.catalog.render import render
    from ronron.site.models import App, Site

    content = {"name": "site", "domain": "example.org", "contact": "a@example.org"}
    site, catalog = Site.model_validate(content), Catalog()
    for name in names():
        recipe = catalog.find(name)
        lint.lint(recipe)
        rules = recipe.extension.parameters.items()
        required = {key: "x@example.org" for key, rule in rules if rule.required}
        secrets = {key: f"app_{key}_0123456789" for key in recipe.extension.secrets}
        app = App.model_validate({"name": "app", "recipe": name, "parameters": required})
        assert render(app, recipe, site, secrets).digest
    return len(names())


def read(folder: Path) -> int:
    """Read every file of the vault in `folder`; returns how many secrets there are."""
    from ronron.site.vault import Vault

    vault = Vault(folder, folder / "key")
    return sum(len(vault.read(name).values) for name in vault.names)


def decrypt(folder: Path) -> int:
    """Decrypt the same files with age's library alone; returns how many bytes come out."""
    from pyrage import decrypt as plain
    from pyrage import x25519

    key = x25519.Identity.from_str((folder / "key").read_text().split()[-1])
    return sum(len(plain(path.read_bytes(), [key])) for path in folder.glob("vault/*.age"))


def main(what: str, folder: Path) -> int:
    """Do one of the three; returns what it counted."""
    if what == "all":
        return whole_catalog()
    return read(folder) if what == "read" else decrypt(folder)


if __name__ == "__main__":
    print(main(sys.argv[1], Path(*sys.argv[2:])))
