"""What the documentation says exists: commands, options, targets, links, decisions."""

from __future__ import annotations

import ast
import copy
import importlib.util
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import click
import pytest

from ronron.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("src/ronron/**/README.md"),
    ]
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^#+ (.+)$", re.M)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = ("", "sh", "bash", "console", "shell")


def script() -> ModuleType:
    path = ROOT / "scripts" / "document_commands.py"
    spec = importlib.util.spec_from_file_location("document_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_the_programs_own_help() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == script().text(), "run: .venv/bin/python scripts/document_commands.py"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def command_lines(text: str) -> Iterator[list[str]]:
    """The arguments of each `ronron …` that stands on a line of its own in a block."""
    for language, block in BLOCK.findall(text):
        if language not in SHELL:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if re.match(r"ronron [a-z-]", line):
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = list(lexer)
                ends = [i for i, word in enumerate(words) if set(word) <= set("();<>|&")]
                yield words[1 : min(ends, default=len(words))]


def mentions(text: str) -> Iterator[list[str]]:
    """The words of each `ronron …` inside a sentence."""
    for span in re.findall(r"`(?:\.venv/bin/)?ronron ([^`]+)`", BLOCK.sub("", text)):
        yield shlex.split(span)


def parse(arguments: Sequence[str]) -> None:
    """Parse a command line as the program would, and run nothing. Raises click's errors."""
    command: click.Command = cli
    ctx: click.Context | None = None
    words = list(arguments)
    info: str | None = "ronron"
    while True:
        # The folder that an example names need not be there; other tests use the same commands.
        command = copy.copy(command)
        command.params = [copy.copy(option) for option in command.params]
        for option in command.params:
            if isinstance(option.type, click.Path):
                option.type = click.Path()
        ctx = command.make_context(info, words, parent=ctx)
        if not isinstance(command, click.Group):
            return
        info, found, words = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert found is not None
        command = found


LINES = [(name(page), line) for page in PAGES for line in command_lines(page.read_text("utf-8"))]
MENTIONS = [(name(page), words) for page in PAGES for words in mentions(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda it: it if isinstance(it, str) else "")
def test_a_command_line_parses(page: str, line: list[str]) -> None:
    try:
        parse(line)
    except click.exceptions.Exit:
        pass  # --help, --version
    except click.ClickException as error:
        pytest.fail(f"{page}: ronron {shlex.join(line)}: {error.format_message()}")


def options_of(command: click.Command) -> set[str]:
    found = {"--help", "-h"}
    for parameter in command.params:
        found.update([*parameter.opts, *parameter.secondary_opts])
    return found


@pytest.mark.parametrize(
    ("page", "words"), MENTIONS, ids=lambda it: it if isinstance(it, str) else ""
)
def test_a_mentioned_command_exists_with_its_options(page: str, words: list[str]) -> None:
    command: click.Command = cli
    known = options_of(cli)
    where = f"{page}: ronron {shlex.join(words)}"
    takes_value = False
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{where}: no option {word}"
            takes_value = word == "--site"
        elif isinstance(command, click.Group) and not takes_value:
            found = command.get_command(click.Context(command), word.strip(",."))
            if found is None and (word.isupper() or word == "…"):
                return
            assert found is not None, f"{where}: no command {word}"
            command = found
            known |= options_of(command)
        else:
            takes_value = False


def test_command_lines_are_found_at_all() -> None:
    assert len(LINES) > 30
    assert len(MENTIONS) > 20
    with pytest.raises(click.NoSuchOption):
        parse(["deploy", "ghost", "blog", "--domian", "blog.example.org"])
    with pytest.raises(click.UsageError, match="no command deplay"):
        parse(["deplay", "ghost", "blog"])
    with pytest.raises(click.MissingParameter):
        parse(["server", "add"])


def advice(path: Path) -> Iterator[str]:
    """The texts by which a module tells what to do: remedies of errors, and what commands say."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        shown = [keyword.value for keyword in node.keywords if keyword.arg == "remedy"]
        if ast.unparse(node.func) in ("output.result", "output.note"):
            shown += node.args
        for part in (part for value in shown for part in ast.walk(value)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def test_errors_and_hints_name_commands_that_exist() -> None:
    count = 0
    for path in sorted((ROOT / "src").rglob("*.py")):
        for text in advice(path):
            for words in re.findall(r"\bronron ([a-z]+)(?: ([a-z]+))?", text):
                command = cli.get_command(click.Context(cli), words[0])
                assert command is not None, f"{name(path)}: {text}"
                if isinstance(command, click.Group) and words[1]:
                    assert words[1] in command.commands, f"{name(path)}: {text}"
                count += 1
    assert count > 20


def test_the_readme_has_every_command_in_its_table() -> None:
    rows = re.findall(r"^\| `ronron (\S+)` \|", README, re.M)
    assert sorted(rows) == sorted(COMMANDS)


def test_the_readme_names_the_two_commands_and_the_makefile_has_its_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)`", README)) | set(
        re.findall(r"^make ([a-z-]+)$", README, re.M)
    )
    assert {"try", "test"} <= named
    assert named <= targets


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub and Forgejo make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text("utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name(page)}: {target}"
        if anchor:
            headings = HEADING.findall(BLOCK.sub("", found.read_text("utf-8")))
            assert anchor in map(slug, headings), f"{name(page)}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / it.partition("#")[0]).resolve() for it in LINK.findall(index.read_text())
    }
    for page in ROOT.glob("docs/**/*.md"):
        assert page == index or page in linked, f"docs/README.md does not name {name(page)}"


def test_decisions_are_numbered_and_say_why() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for page in pages:
        text, number = page.read_text("utf-8"), int(page.name[:4])
        title = text.splitlines()[0]
        assert title.startswith(f"# {number}. "), title
        assert HEADING.findall(BLOCK.sub("", text))[1:] == ["Context", "Decision", "Consequences"]
        assert f"{number}. [{title.partition('. ')[2]}](decisions/{page.name})" in index
