"""Write docs/commands.md: every command's help, as the program prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ronron.cli.main import SECTIONS, cli

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
WIDTH = 100

HEAD = """\
# Commands

Written by `scripts/document_commands.py` from the program's own help; a test compares them.

The exit status is 0 when it is done, 1 when the world failed, 2 for a mistake of the operator
(nothing was changed then), and 130 when it was interrupted. What a command finds is printed to
standard output, progress and errors to standard error.
"""


def main() -> int:
    TARGET.write_text(text(), encoding="utf-8")
    return 0


def text() -> str:
    """The whole page."""
    top = context(cli, "ronron", None)
    parts = [HEAD, block(top)]
    for section, names in SECTIONS.items():
        parts.append(f"## {section}\n")
        for name in names:
            command = cli.get_command(top, name)
            assert command is not None  # noqa: S101 - the table has it
            parts += [page for ctx in tree(command, name, top) for page in entry(ctx)]
    return "\n".join(parts)


def tree(command: click.Command, name: str, parent: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command and of all its subcommands."""
    ctx = context(command, name, parent)
    yield ctx
    if isinstance(command, click.Group):
        for below, child in command.commands.items():
            yield from tree(child, below, ctx)


def context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """The context in which a command prints its help, of a fixed width."""
    return click.Context(
        command,
        parent,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=cli.context_settings["help_option_names"],
    )


def entry(ctx: click.Context) -> list[str]:
    """A command's heading and its help."""
    return [f"### {ctx.command_path}\n", block(ctx)]


def block(ctx: click.Context) -> str:
    """A command's help as a code block."""
    return f"```text\n{ctx.get_help()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
