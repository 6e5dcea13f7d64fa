"""`twinport keys`: the installation's secrets, API keys, and one-time sign-in codes."""

from datetime import UTC, datetime, timedelta
from functools import partial

import click

from privacy import ledger
from privacy.policy import load_policy
from service.auth import Access, Role
from service.auth.errors import AuthError
from service.cli.exits import CommandError, Exit
from service.cli.output import emit, say
from service.config import load_config
from service.keys import KeyRing, Kind
from service.keys.vaults import finish_rotation, rotate_vault
from service.pipeline.make import SOFTWARE
from service.pipeline.runtime import Runtime, open_runtime
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.vault import SqlVaultStore

ROLES = click.Choice([role.value for role in Role])


@click.group("keys")
def command() -> None:
    """Keys are kept in TWINPORT_HOME/keys, readable by their owner only, never in the database."""


@command.command("init")
def init() -> None:
    """Make the keys that do not exist yet; those that do are left alone."""
    config = load_config()
    made = KeyRing.init(config.keys_dir, vault_key=config.vault_key)
    names = ", ".join(kind.value for kind in made)
    say(f"made {names} in {config.keys_dir}" if made else f"all keys are there: {config.keys_dir}")
    if made:
        say("back the folder up apart from the database: without it no twin can be linked again")


@command.command("rotate")
@click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
def rotate(kind: str) -> None:
    """Renew the vault key, the signing key or the session secret.

    Old ledgers and twins still verify after a new signing key; a new vault key seals every record
    anew; a new session secret signs everybody out. Audit log and ledger say that it was done, the
    ledger under the old signing key, which so vouches for the new one.
    """
    runtime = open_runtime()
    try:
        if kind == Kind.VAULT:
            changed = _rotate_vault(runtime)
            say(f"the vault has a new key; {changed} records sealed anew")
        else:
            record = partial(_record, runtime, Kind(kind))
            KeyRing.rotate(runtime.config.keys_dir, Kind(kind), record=record)
            say(f"the {kind} key is new; restart running services")
    finally:
        runtime.close()


def _rotate_vault(runtime: Runtime) -> int:
    store, record = SqlVaultStore(runtime.database), partial(_record, runtime, Kind.VAULT)
    if runtime.keys.vault_in_file:
        return rotate_vault(runtime.config.keys_dir, store, record)
    record(runtime.keys.vault.id)
    return finish_rotation(runtime.keys, store)


def _record(runtime: Runtime, kind: Kind, name: str) -> None:
    """Both or none. Of secret keys not even the names are told."""
    entry = {
        "event": "keys-rotated",
        "time": ledger.coarse_time(load_policy("safe-harbor"), datetime.now(UTC)),
        "software": SOFTWARE,
        "kind": kind.value,
    }
    entry |= {"kid": runtime.keys.signing.kid, "next": name} if kind is Kind.SIGNING else {}
    store = SqlLedgerStore(runtime.database)
    with store.alone():
        AuditStore(runtime.database).record(
            role="admin", subject="command-line", action="keys-rotated", outcome="done"
        )
        ledger.append(store, runtime.signer, entry)


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="The public key set (JWKS), to hand out.")
def show(as_json: bool) -> None:
    """Say which keys there are. Nothing secret is shown."""
    ring = KeyRing.load(load_config().keys_dir, vault_key=load_config().vault_key)
    if as_json:
        emit(ring.jwks())
        return
    click.echo(f"signing  {ring.signing.kid}  since {ring.signing.created}")
    for key in ring.signing_retired:
        click.echo(f"retired  {key.kid}  until {key.retired}")


@command.command("api-key")
@click.option("--role", type=ROLES, required=True)
@click.option("--label", required=True, help="What it is for: a-z, 0-9 and '-'. No names.")
@click.option("--twin", help="The twin a patient's key is bound to.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is valid. Default: always.")
def api_key(role: str, label: str, twin: str | None, days: int | None) -> None:
    """Make an API key for a program. It is shown once; only its hash is kept."""
    runtime = open_runtime()
    try:
        expires = datetime.now(UTC) + timedelta(days=days) if days else None
        key = _access(runtime).api_keys.issue(Role(role), label=label, twin=twin, expires=expires)
    except (ValueError, AuthError) as error:
        raise CommandError(_why(error), Exit.USAGE) from None
    finally:
        runtime.close()
    say(f"key {key.id} ({role}); shown this once:")
    click.echo(key.text)


@command.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke an API key, at once."""
    runtime = open_runtime()
    try:
        done = _access(runtime).api_keys.revoke(key_id)
    finally:
        runtime.close()
    if not done:
        raise CommandError("no such key, or revoked already", Exit.INPUT)
    say("revoked")


@command.command("sign-in")
@click.option("--role", type=ROLES, required=True)
@click.option("--twin", help="The twin a patient may see.")
@click.option("--person", help="Whose code it is: a-z, 0-9 and '-'. A code, not a name.")
def sign_in(role: str, twin: str | None, person: str | None) -> None:
    """Make a one-time code that opens one browser session at /sign-in.

    Give each privacy officer a --person of their own: finding out who a twin is takes two, and
    only by that can the service tell them apart.
    """
    runtime = open_runtime()
    try:
        click.echo(sign_in_code(runtime, role, twin, person))
        say(f"valid once, at {runtime.config.web.origin}/sign-in")
    except (ValueError, AuthError) as error:
        raise CommandError(_why(error), Exit.USAGE) from None
    finally:
        runtime.close()


def sign_in_code(runtime: Runtime, role: str, twin: str | None, person: str | None = None) -> str:
    life = timedelta(minutes=runtime.config.web.sign_in_code_minutes)
    return _access(runtime).codes.issue(Role(role), twin=twin, person=person, life=life)


def issue_key(runtime: Runtime, role: Role, label: str) -> str:
    return _access(runtime).api_keys.issue(role, label=label).text


def _access(runtime: Runtime) -> Access:
    return Access.build(runtime.config, runtime.database, runtime.keys.session.material)


def _why(error: Exception) -> str:
    if isinstance(error, AuthError):
        return "a patient's access needs --twin PSEUDONYM, and no other role may have one"
    return str(error)
