"""Which files an image is built from: as Docker's own client reads a `.dockerignore`."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ronron.digest import content_digest, content_files, folder_digest, short_digest

FILES = ("run", "x.md", "docs/x.md", "docs/a/x.md", "docs/a/b", "a/b.md", "a/c", "Dockerfile")
names = st.sampled_from(["*", "?un", "run", "*.md", "docs", "a", "[ab]", "b", "x.*", "c"])
out = st.builds(
    lambda root, parts: root + "/".join(parts),
    st.sampled_from(["", "/", "./"]),
    st.lists(names, min_size=1, max_size=3),
)
# What is taken back by a pattern is where Docker's own clients differ.
back = st.sampled_from(["!run", "!docs", "!docs/x.md", "!docs/a", "!a/b.md", "!nothing"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("image")
    for name in FILES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(out | back, max_size=4))
def test_what_is_left_out_is_what_docker_leaves_out(folder: Path, lines: list[str]) -> None:
    (folder / ".dockerignore").write_text("\n".join(["# a comment", "", *lines]))
    kept = {name for name, _ in content_files(folder)} - {".dockerignore"}
    dockers = set(exclude_paths(str(folder), list(lines))) - {".dockerignore"}
    assert kept == {name for name in dockers if (folder / name).is_file()}


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("**/*.md", {"run", "docs/a/b", "a/c"}),
        ("**/a", {"run", "x.md", "docs/x.md"}),
        ("docs/**", {"run", "x.md", "a/b.md", "a/c"}),
        ("docs/**/b", set(FILES) - {"docs/a/b", "Dockerfile"}),
        ("*/**", {"run", "x.md"}),
        ("**", set()),
    ],
)
def test_two_stars_stand_for_any_folders(folder: Path, pattern: str, left: set[str]) -> None:
    (folder / ".dockerignore").write_text(pattern)
    kept = {name for name, _ in content_files(folder)} - {".dockerignore"}
    assert kept == left | {"Dockerfile"}, "without it nothing can be built"


def test_an_image_is_another_only_for_what_it_is_built_from(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "run").write_text("one")
    (tmp_path / "stack.yml").write_text("one")
    (tmp_path / ".dockerignore").write_text("*\n!run\n")
    image, recipe = content_digest(tmp_path), folder_digest(tmp_path)
    (tmp_path / "stack.yml").write_text("two")
    assert content_digest(tmp_path) == image
    assert folder_digest(tmp_path) != recipe
    assert folder_digest(tmp_path, without=["stack.yml"]) not in (image, recipe)
    (tmp_path / "run").write_text("two")
    assert content_digest(tmp_path) != image


def test_a_digest_is_short_and_of_the_content() -> None:
    assert short_digest(b"") == "e3b0c44298fc"
    assert short_digest(b"a") != short_digest(b"b")
