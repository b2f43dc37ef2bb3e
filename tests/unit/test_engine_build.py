"""What an image is built from: names, digests and arguments, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ronron.digest import content_digest
from ronron.engine.build import base_command, bases, build_arguments
from ronron.engine.client import connect
from ronron.errors import RonronError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY run /run\n")
    (tmp_path / "run").write_text("one")
    return tmp_path


def test_the_digest_follows_the_content(folder: Path) -> None:
    before = content_digest(folder)
    assert len(before) == 12
    assert content_digest(folder) == before
    (folder / "run").write_text("two")
    assert content_digest(folder) != before
    (folder / "run").write_text("one")
    assert content_digest(folder) == before


def test_the_digest_follows_names_and_executable_bits(folder: Path) -> None:
    before = content_digest(folder)
    (folder / "run").chmod(0o755)
    executable = content_digest(folder)
    (folder / "run").chmod(0o644)
    (folder / "run").rename(folder / "walk")
    assert len({before, executable, content_digest(folder)}) == 3


def test_the_digest_does_not_mistake_one_file_for_two(tmp_path: Path) -> None:
    digests = set()
    for number, files in enumerate(({"a": "1\0b\0-1\0002"}, {"a": "1", "b": "2"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        digests.add(content_digest(folder))
    assert len(digests) == 2


def test_caches_and_certificates_do_not_count(folder: Path) -> None:
    before = content_digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/run.pyc").write_bytes(b"cache")
    (folder / "ca-certificates.crt").write_text("this machine's")
    assert content_digest(folder) == before


def test_what_dockerignore_names_does_not_count(folder: Path) -> None:
    (folder / ".dockerignore").write_text("# all but the program\n*\n!run\n")
    before = content_digest(folder)
    (folder / "README.md").write_text("new words")
    assert content_digest(folder) == before
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert content_digest(folder) != before


def test_bases_are_what_is_not_a_stage() -> None:
    dockerfile = """\
# FROM a-comment:1
FROM debian:trixie-slim AS fetch
RUN true
from --platform=linux/amd64 node:24 as Program
FROM fetch
FROM scratch
FROM program
FROM debian:trixie-slim
"""
    assert bases(dockerfile) == ["debian:trixie-slim", "node:24"]


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("ghost:6.65.0", "6.65.0"),
        ("registry.example.net:5000/traefik:v3.7.15-0123456789ab", "3.7.15"),
        ("registry.example.net:5000/hello", None),
        ("debian:trixie", None),
    ],
)
def test_the_version_is_the_tags(tag: str, version: str | None) -> None:
    wanted = {} if version is None else {"VERSION": version}
    assert build_arguments("FROM scratch\nARG VERSION=1.0.0\n", tag) == wanted
    assert build_arguments("FROM scratch\nENV VERSION=1\n", tag) == {}


def test_the_base_is_debians_smallest_written_to_a_file() -> None:
    command = base_command("/there/base.tar")
    assert command[:2] == ["mmdebstrap", "--variant=minbase"]
    assert command[-2:] == ["trixie", "/there/base.tar"]


def test_no_engine_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    answers = pytest.raises(RonronError, match="no Docker engine answers")
    with answers as caught, connect(tmp_path / "docker.sock"):
        pass
    assert "docker info" in caught.value.remedy
