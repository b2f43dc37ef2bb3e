"""`ronron secrets`: what the vault holds, new values, and who can open it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ronron.cli import context, output
from ronron.cli.sheet import sheet
from ronron.errors import OperatorError

if TYPE_CHECKING:
    from ronron.catalog.recipe import Catalog
    from ronron.site.load import LoadedSite
    from ronron.site.secret import Secret
    from ronron.site.vault import Vault


@click.group()
def secrets() -> None:
    """Show and change the apps' secrets, and who can read them."""


secrets.add_command(sheet)


@secrets.group()
def recipients() -> None:
    """List, add and remove the keys that can open the vault."""


@secrets.command()
@click.option("--recover", is_flag=True, help="Ask for the recovery key; let a new key in with it.")
@click.option("--new-recovery-key", is_flag=True, help="Replace the recovery key by another.")
@context.with_site
def init(loaded: LoadedSite, recover: bool, new_recovery_key: bool) -> None:
    """Make what is missing of the keys: this computer's, and the recovery key.

    The recovery key is printed once and stored nowhere. Write it down and keep it offline: with it
    and the site's files everything can be read again. On a further computer only a key is made,
    and what to run where another one works is said. With --recover, the recovery key lets it in.
    """
    from ronron.site import keys
    from ronron.site.vault import RECIPIENTS_FILE, create_key, identity_path

    path = identity_path(loaded.site.name)
    existed = path.exists()
    vault = _vault(loaded)
    opened = _vault(loaded, _ask("Recovery key")) if recover else vault
    if recover or (existed and not (loaded.folder / RECIPIENTS_FILE).exists()):
        keys.restore(opened, opened.recipient if recover else "")
    own = keys.Recipient(create_key(path), _this_computer())
    output.note(f"key {'found' if existed else 'made'}: {path}")
    listed = keys.recipients(vault) if (loaded.folder / RECIPIENTS_FILE).exists() else ()
    if recover:
        keys.add(opened, own)
    elif not listed and not vault.names:
        keys.add(vault, own)
    elif own.key not in {item.key for item in listed}:
        output.note("it cannot read the vault yet. Where another key works, run:")
        output.result(f"ronron secrets recipients add {own.key} --name {own.comment}")
        output.note("or let it in with the recovery key: ronron secrets init --recover")
        return
    old = [item for item in listed if item.recovery]
    if old and not new_recovery_key:
        output.note("there is a recovery key: --new-recovery-key replaces it")
        return
    keys.readable(vault)  # what cannot be read is told before a key is shown
    key, recipient = keys.recovery_key()
    output.note("the recovery key, shown only now; write it down and keep it offline:")
    output.result(key.reveal())
    changed = keys.add(vault, recipient)
    for item in old:
        keys.remove(vault, item.key)
    output.note(f"it opens all {len(changed)} files of the vault; commit vault and recipients.txt")


@secrets.command()
@click.argument("app")
@click.argument("secret", required=False)
@click.option("--reveal", is_flag=True, help="Print the values.")
@context.json_option
@context.with_site
def show(loaded: LoadedSite, app: str, secret: str | None, reveal: bool, as_json: bool) -> None:
    """Show which secrets an app has, and with --reveal their values.

    Without --reveal nothing is printed but to a terminal.
    """
    if not reveal and not sys.stdout.isatty():
        raise OperatorError(
            "secrets are shown on a terminal alone", remedy="--reveal prints them anywhere"
        )
    vault = _vault(loaded)
    if app not in vault.names:
        raise OperatorError(
            f"vault/{app}.age: there is no such file",
            remedy=f"the vault has: {', '.join(vault.names) or 'nothing yet'}",
        )
    known = vault.read(app)
    if secret is not None and secret not in known.values:
        has = ", ".join(sorted(known.values)) or "none"
        raise OperatorError(f"{app} has no secret {secret}", remedy=f"it has: {has}")
    names = [secret] if secret else sorted(known.values)
    values = {name: known.values[name].reveal() if reveal else "***" for name in names}
    if as_json:
        output.result_json(values)
    elif secret and reveal:
        output.result(values[secret])
    else:
        output.table(("secret", "value"), list(values.items()))


@secrets.command("set", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@click.argument("app")
@click.argument("secret")
@click.option("--vault-only", is_flag=True, help="The app has this value already: only keep it.")
@context.timeout_option(300.0, "Seconds that it may take.")
@context.yes_option
@context.with_site
def set_value(
    loaded: LoadedSite, app: str, secret: str, vault_only: bool, timeout: float, yes: bool
) -> None:
    """Give a secret the value that is typed, or that comes by standard input.

    A secret that is not in the vault yet is kept for the next deployment. One that an app uses is
    changed there too, as ronron secrets rotate does.

    \b
      ronron secrets set blog smtp_password
      pass show smtp | ronron secrets set blog smtp_password

    The password of mail.user in ronron.yml is mail_password of `site`, and apps get it by ronron
    apply: ronron secrets set site mail_password.
    """
    from ronron.backup.repository import PASSWORD
    from ronron.backup.repository import VAULT_NAME as BACKUP
    from ronron.catalog import access, mail
    from ronron.plan import secrets as domain
    from ronron.plan.make import SITE

    if click.get_current_context().args:
        # Click's own words would repeat what stood there.
        raise click.UsageError(
            "A value is never an argument: others on this computer see it, and the shell's history "
            "keeps it. Leave it away, and it is asked for; choose another if this was it."
        )
    vault, catalog = _vault(loaded), _catalog(loaded)
    rule = domain.settable(loaded, catalog, app, secret)
    # The relay knows it already: the apps get it with the next apply. What it takes to log in at
    # the repository of backups is read there at each use.
    others = (SITE, BACKUP)
    vault_only = vault_only or (rule is not None and rule.optional)
    vault_only = vault_only or secret == mail.PASSWORD or (app in others and secret != PASSWORD)
    at_proxy = isinstance(rule, access.Login)
    vault_only = vault_only or at_proxy
    new = not vault.exists(app) or secret not in vault.read(app).values
    if app == BACKUP and not new and not vault_only:
        raise OperatorError(
            f"the repository knows the {secret} that vault/{BACKUP}.age has",
            remedy="--vault-only, when the repository has another one",
        )
    if rule is None and not new and not vault_only:
        raise OperatorError(
            f"{app} is not declared, and its data may know the old {secret}",
            remedy="deploy it first, or add --vault-only",
        )
    value = _ask(f"{secret} of {app}", twice=True)
    if vault_only or new:
        domain.keep(vault, app, secret, value, rule)
        uses = {SITE: "ronron apply gives it to the apps", BACKUP: "the next backup uses it"}
        when = uses.get(app, "the next deployment uses it")
        when = "ronron apply gives the proxy its hash" if at_proxy else when
        output.result(f"vault/{app}.age holds {secret}; {when}")
    else:
        _change(loaded, app, {secret: value}, timeout, yes)


@secrets.command()
@click.argument("app")
@click.argument("secret", required=False)
@context.timeout_option(300.0, "Seconds that it may take.")
@context.yes_option
@context.with_site
def rotate(loaded: LoadedSite, app: str, secret: str | None, timeout: float, yes: bool) -> None:
    """Give an app's secrets, or one of them, new random values, and the app with them.

    A database learns its new password while it runs; then the services are updated one by one.
    What was interrupted is finished by the next rotation; until then the old value works.
    """
    from ronron.plan import secrets as domain

    names, left = domain.to_rotate(loaded, _catalog(loaded), app, secret)
    for name, reason in left.items():
        output.note(f"{name} stays as it is: {reason}")
    _change(loaded, app, dict.fromkeys(names), timeout, yes)


@secrets.command()
@click.option("--recovery-key", is_flag=True, help="Ask for the recovery key, and try it too.")
@context.json_option
@context.with_site
def check(loaded: LoadedSite, recovery_key: bool, as_json: bool) -> int:
    """Check the key, each file of the vault, and that no secret is missing.

    Every file must be readable, and encrypted to exactly the recipients. Ends with status 1 when
    something is wrong.
    """
    from ronron.plan import secrets as domain
    from ronron.site import keys

    vault = _vault(loaded)
    problems = domain.check(loaded, _catalog(loaded), vault)
    if recovery_key:
        problems += keys.check_recovery(_vault(loaded, _ask("Recovery key")))
    if as_json:
        output.result_json({"ok": not problems, "problems": problems})
        return 1 if problems else 0
    for problem in problems:
        output.result(str(problem))
    if problems:
        return 1
    output.result(f"{len(vault.names)} files can be read, and no secret is missing")
    if not any(item.recovery for item in keys.recipients(vault)):
        output.note("there is no recovery key: ronron secrets init makes one")
    return 0


@recipients.command("list")
@context.json_option
@context.with_site
def list_recipients(loaded: LoadedSite, as_json: bool) -> None:
    """List the public keys that the vault is encrypted to."""
    from ronron.site import keys

    vault = _vault(loaded)
    found = keys.recipients(vault)
    if as_json:
        output.result_json(found)
        return
    own = vault.recipient if vault.identity_path.exists() else ""
    here = {own: "this computer's"}
    output.table(("key", "whose", ""), [(i.key, i.comment, here.get(i.key, "")) for i in found])


@recipients.command("add")
@click.argument("key")
@click.option("--name", default="", help="Whose it is, for recipients.txt.")
@context.with_site
def add_recipient(loaded: LoadedSite, key: str, name: str) -> None:
    """Let the owner of the public key KEY (age1…) read the vault too.

    ronron secrets init makes such a key on another computer and says its public half.
    """
    from ronron.site import keys

    changed = keys.add(_vault(loaded), keys.Recipient(key, name))
    _say_encrypted(changed)


@recipients.command("remove")
@click.argument("key")
@context.yes_option
@context.with_site
def remove_recipient(loaded: LoadedSite, key: str, yes: bool) -> None:
    """Encrypt the vault no longer to the public key KEY.

    Its owner can still read what git remembers: rotate the secrets afterwards.
    """
    from ronron.site import keys

    output.confirm(f"Remove {key}?", yes)
    changed = keys.remove(_vault(loaded), key)
    _say_encrypted(changed)
    output.note("its owner knows the present secrets: ronron secrets rotate APP changes them")


@recipients.command("update")
@context.with_site
def update_recipients(loaded: LoadedSite) -> None:
    """Encrypt every file again, to the keys in recipients.txt."""
    from ronron.site import keys

    _say_encrypted(keys.reencrypt(_vault(loaded)))


def _say_encrypted(changed: tuple[str, ...]) -> None:
    output.result(f"{len(changed)} files encrypted again; commit vault and recipients.txt")


def _change(
    loaded: LoadedSite, app: str, wanted: dict[str, Secret | None], timeout: float, yes: bool
) -> None:
    from ronron.plan import secrets as domain
    from ronron.plan.session import open_session

    output.confirm(f"Change {', '.join(wanted)} of {app} and restart what uses it?", yes)
    with output.reporter() as report, open_session(loaded, report) as session:
        changed = domain.change(session, app, wanted, seconds=timeout)
    if changed:
        output.result(f"{app} works with a new {', '.join(changed)}; commit vault/{app}.age")
    else:
        output.result("nothing to change")


def _ask(what: str, *, twice: bool = False) -> Secret:
    """A value that is typed unseen, or all of standard input but its last end of line."""
    from ronron.site.vault import usable

    if sys.stdin.isatty():
        return usable(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise OperatorError("standard input is not text in UTF-8") from None
    return usable(text.removesuffix("\n").removesuffix("\r"))


def _vault(loaded: LoadedSite, key: Secret | None = None) -> Vault:
    from ronron.site.vault import Vault, identity_path

    return Vault(loaded.folder, identity_path(loaded.site.name), key)


def _catalog(loaded: LoadedSite) -> Catalog:
    from ronron.catalog.recipe import Catalog

    return Catalog(loaded.recipes)


def _this_computer() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"
