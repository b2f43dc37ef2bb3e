"""One lab for all tests of the whole: three bare servers, applied once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cloud import REPOSITORY, Operator, configure
from e2e.outside import Stranger, a_stranger, an_open_app
from ronron import lab
from ronron.lab.site import write_site

PREFIX = "e2e"


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator with a site for three bare servers; leftovers of killed runs are removed."""
    for name in lab.names():
        prefix, _, process = name.partition("-")
        if prefix == PREFIX and not Path("/proc", process).exists():
            lab.down(name, keep_images=True)
    name = f"{PREFIX}-{os.getpid()}"
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("site")
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(home)
    try:
        found = lab.up(name, 3)
        write_site(found, folder)
        yield Operator(found, folder, home)
    finally:
        if before is None:
            del os.environ["XDG_CONFIG_HOME"]
        else:
            os.environ["XDG_CONFIG_HOME"] = before
        lab.down(name, keep_images=True)


@pytest.fixture(scope="session")
def operator(bare: Operator) -> Operator:
    """An operator whose site is applied: provisioned servers, a swarm, the platform's apps."""
    bare.ronron("apply", "--yes")
    return bare


@pytest.fixture(scope="session")
def blog(operator: Operator) -> dict[str, Any]:
    """What a Ghost with its database answered once it was deployed as `blog`."""
    return operator.deploy("ghost", "blog", "--timeout", "500")


@pytest.fixture(scope="session")
def hi(operator: Operator) -> dict[str, Any]:
    """What a `hello` of two replicas answered once it was deployed as `hi`."""
    return operator.deploy("hello", "hi", "--replicas", "web=2")


@pytest.fixture(scope="session")
def kept(operator: Operator) -> Operator:
    """An operator whose site has a repository on the storage server."""
    configure(operator, REPOSITORY)
    operator.ronron("apply", "--yes")
    operator.ronron("backup", "init")
    return operator


def own_recipe(operator: Operator, name: str) -> str:
    """Bring a recipe of the tests into the site, and return its name."""
    source = Path(__file__).parents[1] / "recipes" / name
    shutil.copytree(source, operator.folder / "recipes" / name, dirs_exist_ok=True)
    return name


@pytest.fixture(scope="session")
def shelf(kept: Operator) -> dict[str, Any]:
    """What `shelf` answered once it was deployed: a page with a volume of files and a MariaDB."""
    return kept.deploy(own_recipe(kept, "shelf"), "shelf", "--timeout", "500")


@pytest.fixture(scope="session")
def stores(kept: Operator) -> str:
    """The name of an app with a SQLite file and a Redis."""
    kept.ronron("deploy", own_recipe(kept, "stores"), "stores", "--yes", "--timeout", "500")
    return "stores"


@pytest.fixture
def stranger(operator: Operator) -> Iterator[Stranger]:
    """Somebody with an SSH client, whom no server knows."""
    with a_stranger(operator) as made:
        yield made


@pytest.fixture(scope="module")
def opened(operator: Operator) -> Iterator[Operator]:
    """An operator with an app that publishes a port, declares none, and asks for a password."""
    with an_open_app(operator):
        yield operator
