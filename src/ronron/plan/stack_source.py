"""A plain stack file brought into the site, with the files that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ronron.catalog.plain.reading import scalar_text
from ronron.catalog.stackfile import gather, translate, with_options
from ronron.errors import OperatorError
from ronron.site.files import write_atomically
from ronron.site.load import LoadedSite
from ronron.site.secret import Secret
from ronron.site.vault import Secrets, Vault, identity_path

if TYPE_CHECKING:
    from ronron.plan.deploying import Request


@dataclass(frozen=True)
class Brought:
    """What to write: `stack` is the file's path in the site, `files` the contents by path.

    `secrets` are contents of the secrets' files, for the vault.
    """

    stack: str
    files: Mapping[Path, bytes]
    secrets: Mapping[str, Secret] = field(default_factory=dict)


def bring(loaded: LoadedSite, request: Request, source: Path) -> Brought:
    """Read the stack file `source` and what it needs, for the app that `request` names.

    A file without others is `stacks/NAME.yml` in the site; with others, all are in
    `stacks/NAME/`. Raises SiteError with all that cannot be carried over, and OperatorError when
    a file cannot be read.
    """
    known = loaded.apps.get(request.name)
    parameters = {**(known.parameters if known else {}), **request.parameters}
    try:
        text = with_options(
            source.read_text(encoding="utf-8"),
            allow_host_paths=request.allow_host_paths,
            secrets=request.replace_passwords,
        )
        found = translate(
            text,
            name=request.name,
            file=str(source),
            folder=source.absolute().parent,
            variables={name: scalar_text(value) for name, value in parameters.items()},
            domain=request.domain or _domain(loaded, request.name),
            web=request.web or (known.web if known else None),
        )
        files = {**gather(source, found), source.name: text.encode()}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not a text file"
        raise OperatorError(f"{source}: {reason}", remedy="name a Compose stack file") from error
    secrets = {name: Secret(value) for name, value in found.secrets.items()}
    if known and known.stack and loaded.path(known.stack).resolve() == source.resolve():
        return Brought(known.stack, {source.absolute(): text.encode()}, secrets)
    if len(files) == 1:
        stack = f"stacks/{request.name}.yml"
        return Brought(stack, {loaded.folder / stack: text.encode()}, secrets)
    folder = loaded.folder / "stacks" / request.name
    stack = f"stacks/{request.name}/{source.name}"
    return Brought(stack, {folder / name: content for name, content in files.items()}, secrets)


def write(loaded: LoadedSite, app: str, brought: Brought) -> None:
    """Write the files into the site, and the secrets into the app's vault.

    A secret that the vault has already stays as it is there.
    """
    for path, content in brought.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    if not brought.secrets:
        return
    vault = Vault(loaded.folder, identity_path(loaded.site.name))
    secrets = vault.read(app) if vault.exists(app) else Secrets()
    added = {name: value for name, value in brought.secrets.items() if name not in secrets.values}
    for name, value in added.items():
        secrets = secrets.set(name, value)
    if added:
        vault.write(app, secrets)


def _domain(loaded: LoadedSite, name: str) -> str:
    known = loaded.apps.get(name)
    return (known.domain if known else None) or f"{name}.{loaded.site.domain}"
