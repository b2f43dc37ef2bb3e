"""What `ronron` is started with: the table of commands, and the one place that prints errors.

A command's module is imported when the command is called, so that `ronron --help` imports
nothing but click.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ronron.errors import RonronError, SiteError

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "The site": {
        "init": ("ronron.cli.site:init", "Make a site: a folder of plain files, in git."),
        "server": ("ronron.cli.server:server", "Add, list, check, drain and remove servers."),
        "plan": ("ronron.cli.plan:plan", "Show what apply would change."),
        "apply": ("ronron.cli.apply:apply", "Make servers and apps what the site says."),
        "status": ("ronron.cli.app:status", "Show how servers, apps and certificates are."),
        "top": ("ronron.cli.top:top", "Show what servers and apps use."),
        "alerts": ("ronron.cli.alerts:alerts", "Show and silence alerts, and try their channels."),
        "bans": ("ronron.cli.bans:bans", "See who is banned from the servers, and lift bans."),
        "storage": ("ronron.cli.storage:storage", "Show and extend the space for volumes."),
    },
    "Apps": {
        "deploy": ("ronron.cli.deploy:deploy", "Add an app, or update it, and wait for it."),
        "remove": ("ronron.cli.app:remove", "Remove an app; its data is kept."),
        "list": ("ronron.cli.app:list_apps", "List the apps."),
        "logs": ("ronron.cli.logs:logs", "Show log lines of apps, requests and servers."),
        "shell": ("ronron.cli.app:shell", "Open a shell in an app's container."),
        "restart": ("ronron.cli.app:restart", "Restart an app's services."),
        "upgrade": ("ronron.cli.app:upgrade", "Move an app to its recipe's newer version."),
        "rollback": ("ronron.cli.app:rollback", "Bring back what ran before the last change."),
        "move": ("ronron.cli.move:move", "Move an app's databases to another server."),
        "failover": ("ronron.cli.failover:failover", "Bring up the databases of a lost server."),
        "secrets": ("ronron.cli.secrets:secrets", "Show and rotate secrets, and who reads them."),
        "recipe": ("ronron.cli.recipe:recipe", "List and show the recipes."),
    },
    "Backups": {
        "backup": ("ronron.cli.backup:backup", "Back up apps into the site's repository."),
        "restore": ("ronron.cli.restore:restore", "Bring an app's data back from a snapshot."),
        "rebuild": ("ronron.cli.rebuild:rebuild", "Bring everything back on new servers."),
        "drill": ("ronron.cli.drill:drill", "Restore backups aside, and see that they work."),
        "backups": ("ronron.cli.backup:backups", "List the snapshots in the repository."),
    },
    "Security": {
        "audit": ("ronron.cli.audit:audit", "Prove from outside that what must be closed is."),
        "provider": ("ronron.cli.provider:provider", "Firewall rules at the servers' provider."),
    },
    "More": {
        "lab": ("ronron.cli.lab:lab", "Disposable servers on this computer, to try and test."),
        "inventory": ("ronron.cli.inventory:inventory", "Print an Ansible dynamic inventory."),
        "schema": ("ronron.cli.site:schema", "Print the JSON Schema of the site's files."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """The commands of the table, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown command is answered with the closest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else "see ronron --help"
            raise click.UsageError(f"There is no command {args[0]} ({hint}).", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's sections, without importing a command."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, about) for name, (_, about) in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--site",
    "folder",
    metavar="DIR",
    envvar="RONRON_SITE",
    type=click.Path(exists=True, file_okay=False),
    help="The site's folder; default: RONRON_SITE, or the nearest one upwards from here.",
)
@click.version_option(package_name="ronron", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, folder: str | None) -> None:
    """Turn bare servers into a small cloud that purrs."""
    ctx.obj = folder


def main() -> NoReturn:
    """The entry point of the program `ronron`."""
    # Most of what is made while modules load stays: looking it through for garbage takes a tenth
    # of the time.
    gc.set_threshold(100_000, 20, 20)
    status = run(sys.argv[1:])
    # Python would look all of it through at its end, which takes it longer than some commands.
    gc.freeze()
    sys.exit(status)


def run(args: Sequence[str]) -> int:
    """Run the command line `args`, print what went wrong if something did, return the status.

    0 is done, 1 a failure of the world, 2 a mistake of the operator, 130 interrupted. A command
    may return its own status.
    """
    try:
        status: Any = cli.main(args=list(args), prog_name="ronron", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        print_error(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print_error("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output is gone; keep Python from saying so again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SiteError as error:
        for problem in error.problems:
            print_error(str(problem))
        return error.exit_code
    except RonronError as error:
        print_error(str(error), error.details)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            name = max(str(error.filename).split("/"), key=len)
            print_error(f"{name[:60]}… is too long for a name (files' have at most 255 bytes)")
            return 2
        from ronron.cli.crash import save_traceback

        print_error(f"a bug in ronron: {type(error).__name__} ({save_traceback(error)})")
        return 1
    return status if isinstance(status, int) else 0


def print_error(message: str, details: Sequence[str] = ()) -> None:
    """Print one red line to standard error, and the details below it."""
    from ronron.cli.output import colour

    line = "error: " + message.replace("\n", " ")
    click.echo(click.style(line, fg="red") if colour(sys.stderr) else line, err=True)
    for detail in details:
        click.echo(f"  {detail}", err=True)


if __name__ == "__main__":
    main()
