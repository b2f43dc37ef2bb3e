"""What a recipe is: a plain Compose file with one `x-ronron` block, and the files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ronron.catalog.checks import Check
from ronron.catalog.interpolate import Template, compile
from ronron.catalog.plain import document
from ronron.digest import content_digest, folder_digest
from ronron.errors import OperatorError, Problem, SiteError
from ronron.site.web import Headers, Rate, WebPath

ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PathRule(_Model):
    """A path that upstream advises to restrict: closed to all, or so many requests of a client."""

    path: WebPath
    closed: bool = False
    rate: Rate | None = None
    burst: int | None = Field(default=None, ge=1)
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _one(self) -> PathRule:
        if self.closed == (self.rate is not None):
            raise ValueError("a path is closed, or has a rate: one of the two")
        return self


class Web(_Model):
    """The service that answers the app's domain, its port, and the path that proves it works.

    `headers` is how its answers' headers differ from every app's, `paths` what is restricted there,
    `admin` the paths that an app's `access.admin` keeps for some addresses.
    """

    service: str
    port: int = Field(ge=1, le=65535)
    health: str = "/"
    headers: Headers = Headers()
    paths: tuple[PathRule, ...] = ()
    admin: tuple[WebPath, ...] = ()


class Rotation(_Model):
    """How a running database learns a new password: argv lists, run in the container of `service`.

    They get two lines on their standard input, the old value and the new one. `accept` makes the
    database take the new value and, if it can, the old one as well; `drop`, run once every service
    has the new value, makes it take the new one alone. Both may be run twice; `drop`, or `accept`
    where there is none, is run with the values exchanged to go back.
    """

    service: str
    accept: tuple[str, ...] = Field(min_length=1)
    drop: tuple[str, ...] = ()


class SecretRule(_Model):
    """How a secret is made. `provided` ones are supplied by ronron itself (certificates).

    `optional` ones come from the operator alone; without a value the services go without.
    `permanent` says why the value can never be changed, such as that data is encrypted with it.
    """

    about: str = ""
    length: int = Field(default=32, ge=16, le=512)
    alphabet: str = ALPHANUMERIC
    provided: bool = False
    optional: bool = False
    permanent: str = ""
    rotate: Rotation | None = None


class Parameter(_Model):
    """A value that an app may set; without `default` or `required` it is the empty string."""

    about: str = ""
    type: Literal["string", "integer", "boolean", "choice"] = "string"
    default: str | int | bool | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    pattern: str | None = None

    def check(self, value: object) -> str | None:
        """Say what is wrong with `value`, or None."""
        if self.type == "integer" and (isinstance(value, bool) or not _is_integer(value)):
            return "must be a whole number"
        if self.type == "boolean" and str(value).lower() not in ("true", "false"):
            return "must be true or false"
        if self.type == "choice" and str(value) not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if isinstance(value, (dict, list)):
            return "must be a single value"
        if self.pattern is not None and not re.fullmatch(self.pattern, str(value)):
            return f"must match {self.pattern}"
        return None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) or bool(re.fullmatch(r"-?\d+", str(value)))


class Volume(_Model):
    """What a volume holds, and who owns its folder (numeric user and group, octal mode).

    `backup` is false where nothing is lost with it: figures, caches.
    """

    kind: Literal["files", "database"] = Field(default="files", alias="class")
    uid: int = 0
    gid: int = 0
    mode: str = Field(default="0755", pattern=r"^0?[0-7]{3,4}$")
    backup: bool = True

    @field_validator("mode", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        # YAML reads 0750 as the number 488 and 750 as 750: which was meant cannot be told any more.
        if isinstance(value, int):
            raise ValueError('must be text in quotes, such as "0750"')
        return value


Engine = Literal["mariadb", "mysql", "postgres", "mongodb", "redis", "sqlite"]
"""The databases whose dumps are known to be whole, or not, by their end: `backup.dump`."""


class Database(_Model):
    """How the database of `service`, kept in `volume`, is dumped and restored: argv lists.

    They run with `image` instead of the service's own where it is given.
    """

    service: str = ""
    volume: str
    engine: Engine
    image: str = ""
    dump: tuple[str, ...] = Field(min_length=1)
    restore: tuple[str, ...] = Field(min_length=1)

    @property
    def dumps_files(self) -> bool:
        """Whether the dump reads the volume's files, where they are: there is no server to ask."""
        return self.engine == "sqlite"

    @property
    def restores_files(self) -> bool:
        """Whether the restore writes the volume's files: no database runs beside for it."""
        return self.engine in ("sqlite", "redis")


class Extension(_Model):
    """The `x-ronron` block."""

    title: str
    about: str = ""
    category: str = "other"
    license: str
    license_exception: str = ""
    website: str = ""
    verified: Literal["run", "rendered"] = "rendered"
    web: Web | None = None
    secrets: dict[str, SecretRule] = {}
    parameters: dict[str, Parameter] = {}
    volumes: dict[str, Volume] = {}
    databases: dict[str, Database] = {}
    checks: dict[str, Check] = {}
    docker_socket: str = ""
    published_ports: str = ""
    host_paths: str = ""

    @model_validator(mode="before")
    @classmethod
    def _list_of_secrets(cls, data: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        if isinstance(data, dict) and isinstance(data.get("secrets"), list):
            return {**data, "secrets": {str(name): {} for name in data["secrets"]}}
        return data


@dataclass(frozen=True)
class Recipe:
    """A recipe as read: its extension block, its Compose content, and its folder.

    `stack` is the Compose mapping without `x-ronron`, not interpolated. `notes` say what was
    translated when it came from a plain stack file.
    """

    name: str
    folder: Path
    extension: Extension
    stack: Mapping[str, Any]
    builtin: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def services(self) -> Mapping[str, Any]:
        """The Compose services, by name."""
        services: Mapping[str, Any] = self.stack["services"]
        return services

    @cached_property
    def template(self) -> Template:
        """The stack, ready to be interpolated for an app."""
        return compile(self.stack)

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that change with any file of the recipe's folder but its README."""
        return folder_digest(self.folder, without=["README.md"])

    @cached_property
    def _folder_digests(self) -> dict[Path, str]:
        return {}

    def folder_digest(self, folder: Path | None) -> str:
        """The digest of an image's folder, read once; empty for None."""
        if folder is None:
            return ""
        if folder not in self._folder_digests:
            self._folder_digests[folder] = content_digest(folder)
        return self._folder_digests[folder]


@cache
def builtin_folder() -> Path:
    """Where the built-in recipes are."""
    return Path(str(resources.files("ronron.catalog"))) / "recipes"


@cache
def image_folder(reference: str) -> Path | None:
    """The built-in folder that builds the image `reference` (`mariadb:11.8.3`), if there is one.

    `images/mariadb/11.8/` builds tags 11.8, 11.8.* and 11.8-*; a recipe's own image is built for
    the tags of its major version. No tag, or `latest`, is the newest that can be built.
    """
    repository, _, tag = reference.partition(":")
    folders = builtin_folder().parent / "images" / repository
    versions = {path.name: path for path in folders.iterdir()} if folders.is_dir() else {}
    own = builtin_folder() / repository / "stack.yml"
    if not versions and own.is_file():
        for service in load(own.parent, builtin=True).services.values():
            name, _, version = str(service.get("image", "")).partition(":")
            if name == repository and service.get("build"):
                versions[version.split(".", 1)[0]] = own.parent
    if tag in ("", "latest"):
        return versions[max(versions, key=_numbers)] if versions else None
    for version in sorted(versions, key=len, reverse=True):
        if tag == version or tag.startswith((f"{version}.", f"{version}-")):
            return versions[version]
    return None


def _numbers(version: str) -> list[int]:
    """What versions are ordered by: 3.10 comes after 3.9."""
    return [int(number) for number in re.findall(r"\d+", version)]


def names(own: Path | None = None) -> list[str]:
    """Every recipe's name, the operator's own (in the folder `own`) and the built-in ones."""
    folders = [builtin_folder()] + ([own] if own and own.is_dir() else [])
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/stack.yml")})


class Catalog:
    """The recipes of one site: the operator's own in the folder `own`, and the built-in ones.

    Each is read once.
    """

    def __init__(self, own: Path | None = None) -> None:
        self._own = own
        self._read: dict[str, Recipe] = {}

    def find(self, name: str) -> Recipe:
        """Return the recipe `name`; raises as the function `find` does."""
        if name not in self._read:
            self._read[name] = find(name, self._own)
        return self._read[name]


def find(name: str, own: Path | None = None) -> Recipe:
    """Return the recipe `name`, the operator's own before the built-in one.

    Raises OperatorError when there is none, SiteError when its files are at fault.
    """
    if own is not None and (own / name / "stack.yml").is_file():
        return load(own / name)
    folder = builtin_folder() / name
    if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) and (folder / "stack.yml").is_file():
        return load(folder, builtin=True)
    import difflib

    near = difflib.get_close_matches(name, names(own), 1)
    hint = f"did you mean {near[0]}?" if near else "ronron recipe list shows them all"
    raise OperatorError(f"there is no recipe {name}", remedy=hint)


def load(folder: Path, *, builtin: bool = False) -> Recipe:
    """Read a recipe's folder. Raises SiteError with every fault of its `stack.yml`."""
    path = folder / "stack.yml"
    file = f"recipes/{folder.name}/stack.yml"
    content = parse_yaml(read_text(path, file), file)
    if not isinstance(content, dict) or not isinstance(content.get("services"), dict):
        raise SiteError([Problem(file, "services", "a Compose file with services is needed")])
    if not isinstance(content.get("x-ronron"), dict):
        remedy = "see docs/recipes.md, or deploy it as a plain stack file"
        raise SiteError([Problem(file, "x-ronron", "this block is missing", remedy)])
    try:
        extension = Extension.model_validate(content["x-ronron"])
    except ValidationError as error:
        raise SiteError(list(_problems(error, file))) from None
    stack = {key: value for key, value in content.items() if key != "x-ronron"}
    return Recipe(folder.name, folder, extension, stack, builtin)


def read_text(path: Path, file: str) -> str:
    """The text of `path`, which errors call `file`. Raises SiteError when it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SiteError([Problem(file, "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise SiteError([Problem(file, "", "is not text", "save it as UTF-8")]) from error


def parse_yaml(text: str, file: str) -> Any:  # noqa: ANN401 - whatever YAML held
    """Parse YAML as Docker does; a fault becomes a SiteError that names `file` and the line."""
    return document.read(text, file).tree


def _problems(error: ValidationError, file: str) -> Iterator[Problem]:
    for fault in error.errors():
        path = ".".join(["x-ronron", *map(str, fault["loc"])])
        unknown = fault["type"] == "extra_forbidden"
        yield Problem(file, path, "unknown key" if unknown else fault["msg"], "see docs/recipes.md")
