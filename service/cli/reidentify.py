"""`twinport reidentify`: two people, a reason, an expiry, one answer. `twinport erase`: the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from service.auth.principals import Principal
from service.cli.exits import CommandError, Exit
from service.cli.officer import KEY_FILE, officer
from service.cli.output import emit, say
from service.pipeline.runtime import open_runtime
from service.reidentify.desk import Desk, DeskError
from service.reidentify.reasons import REASONS


@click.group("reidentify")
def command() -> None:
    """Find out who a twin is: one officer asks, another approves, the first is told, once.

    Each acts with a key of their own (`twinport keys api-key --role privacy-officer`). Every step
    stands in the audit log and in the ledger. Write-back needs none of this: it has its own way.
    """


@command.command("ask")
@click.argument("twin")
@click.option("--reason", type=click.Choice(tuple(REASONS)), required=True)
@KEY_FILE
def ask_command(twin: str, reason: str, key_file: Path | None) -> None:
    """Ask who TWIN is: a twin, or a patient's id in a file that `deidentify` wrote. The request
    waits a day for another officer."""
    with _desk(key_file) as (desk, who):
        made = desk.ask(who, twin, reason)
    click.echo(made.id)
    say(f"waits for another officer until {made.expires:%Y-%m-%d %H:%M} UTC")


@command.command("approve")
@click.argument("request")
@KEY_FILE
def approve_command(request: str, key_file: Path | None) -> None:
    """Approve somebody else's REQUEST."""
    _decide(request, key_file, approve=True)
    say("approved; whoever asked may be told once")


@command.command("refuse")
@click.argument("request")
@KEY_FILE
def refuse_command(request: str, key_file: Path | None) -> None:
    """Refuse somebody else's REQUEST."""
    _decide(request, key_file, approve=False)
    say("refused")


def _decide(request: str, key_file: Path | None, *, approve: bool) -> None:
    with _desk(key_file) as (desk, who):
        desk.decide(who, request, approve=approve)


@command.command("answer")
@click.argument("request")
@KEY_FILE
def answer_command(request: str, key_file: Path | None) -> None:
    """Be told, once, who the twin of your own approved REQUEST is."""
    with _desk(key_file) as (desk, who):
        person = desk.answer(who, request)
    click.echo(f"{person.patient} at {person.base}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(as_json: bool) -> None:
    """The newest requests. Says of nobody who they are."""
    runtime = open_runtime()
    try:
        desk = Desk(runtime.database, runtime.vault, runtime.signer)
        found = [(r, desk.standing(r)) for r in desk.requests()]
    finally:
        runtime.close()
    if as_json:
        emit(
            [
                {"id": r.id, "twin": r.twin, "reason": r.reason, "state": state,
                 "requestedBy": r.requested_by, "decidedBy": r.decided_by, "expires": r.expires}
                for r, state in found
            ]
        )  # fmt: skip
        return
    for r, state in found:
        click.echo(f"{r.id}  {state:<9} {r.reason:<9} {r.twin}  asked by {r.requested_by}")


@click.command("erase")
@click.option("--twin", required=True, help="Any twin of the person, or a patient's id in a file.")
@click.option("--yes", is_flag=True, help="Do not ask back.")
@KEY_FILE
def erase_command(twin: str, yes: bool, key_file: Path | None) -> None:
    """Destroy every way back to the person behind a twin. It cannot be undone.

    The twins stay, and are nobody's any more; a certificate in the ledger names them. Health links
    die at once. Copies that were downloaded or opened before can't be called back.
    """
    with _desk(key_file) as (desk, who):
        if not yes:
            click.confirm("Nobody will be able to tell again who this is. Erase?", abort=True)
        gone = desk.erase(who, twin)
    click.echo(f"erased  {gone.records} ways back")
    for pseudonym in gone.twins:
        click.echo(pseudonym)
    say(f"{gone.links} health links are dead; what was shared before can't be called back")
    say(f"ledger entry {gone.entry} certifies it: `twinport ledger certificate --twin`")


@contextmanager
def _desk(key_file: Path | None) -> Iterator[tuple[Desk, Principal]]:
    runtime = open_runtime()
    try:
        who = officer(runtime, key_file)
        yield Desk(runtime.database, runtime.vault, runtime.signer), who
    except DeskError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    finally:
        runtime.close()
