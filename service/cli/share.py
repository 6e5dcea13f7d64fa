"""`twinport share`: health links, for the operator who helps a patient without a browser."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit, say
from service.pipeline.runtime import open_runtime
from service.portable.errors import PortableError
from service.sharing import qr
from service.sharing.desk import Desk, Shown, Wish, viewer_of
from service.sharing.link import read

ROLE, SUBJECT = "admin", "cli"
NO_BASE = "say where the service is reached: set web.public_url, or give --base https://..."

_twin = click.option("--twin", required=True, metavar="ID", help="The twin's pseudonym.")
_json = click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")


@click.group("share")
def command() -> None:
    """SMART Health Links: whoever has one reads the patient summary and the signed twin.

    What a link opens is encrypted under a key that is in the link and nowhere else.
    """


@command.command("make")
@_twin
@click.option("--label", default="", help="Shown to whoever has the link, before it is opened.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True)
@click.option("--no-end", is_flag=True, help="Until it is revoked.")
@click.option("--passcode", is_flag=True, help="A new six-digit passcode, said once.")
@click.option("--long-term", is_flag=True, help="The content may be brought up to date later.")
@click.option("--single", is_flag=True, help="One file, the summary alone; without a passcode.")
@click.option(
    "--viewer", default="", help="Another page that opens links, in place of this service's own."
)
@click.option("--bare", is_flag=True, help="`shlink:/` alone, for receivers that read no address.")
@click.option("--base", default="", help="The service's public address.")
@click.option(
    "--qr",
    "qr_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a QR code (SVG) besides; `-` draws it on the terminal.",
)
@_json
def make_command(qr_file: Path | None, as_json: bool, **given: Any) -> None:
    """Make a link. It is said once: it opens everything and is not kept.

    \b
    twinport share make --twin TWIN --passcode --days 7 --label "Second opinion"
    """
    if given["bare"] and given["viewer"]:
        raise click.UsageError("give --viewer or --bare, not both")
    passcode = f"{secrets.randbelow(10**6):06}" if given["passcode"] else ""
    wish = Wish(
        label=given["label"],
        passcode=passcode,
        lasts=None if given["no_end"] else timedelta(days=given["days"]),
        long_term=given["long_term"],
        single=given["single"],
    )
    with _desk() as (desk, public):
        base = given["base"] or public
        if not base:
            raise CommandError(NO_BASE, Exit.SETUP)
        made = desk.make(given["twin"], wish, base, ROLE, SUBJECT)
    viewer = "" if given["bare"] else given["viewer"] or viewer_of(base)
    text = made.link.spelled(viewer)
    if as_json:
        emit({"id": made.id, "link": text, "passcode": passcode or None})
    else:
        click.echo(text)
        say(f"link {made.id}; it is not kept and can't be said again")
        if passcode:
            say(f"passcode {passcode}: tell it another way than the link")
    if qr_file is not None and str(qr_file) == "-":
        click.echo(qr.drawn(text), err=True)
    elif qr_file is not None:
        put(qr_file, qr.svg(text))


@command.command("list")
@_twin
@_json
def list_command(twin: str, as_json: bool) -> None:
    """The links of a twin, those that ended included."""
    with _desk() as (desk, _):
        links = desk.links(twin)
    if as_json:
        emit([_row(link) for link in links])
        return
    for link in links:
        state = link.ended or "open"
        line = f"{link.id}  {state:<8}  opened {link.opened}  version {link.version}"
        click.echo(f"{line}  {link.flag}".rstrip())


@command.command("revoke")
@_twin
@click.argument("link", metavar="ID")
def revoke_command(twin: str, link: str) -> None:
    """End a link at once, and destroy what it opened. Copies that were made stay where they are."""
    with _desk() as (desk, _):
        done = desk.revoke(twin, link, ROLE, SUBJECT)
    if not done:
        raise CommandError("this twin has no such link; see `twinport share list`", Exit.USAGE)
    say("revoked")


@command.command("update")
def update_command() -> None:
    """Put the newest version under a long-term link. The link is read from standard input,
    because its key is kept nowhere else.

    \b
    twinport share update < link.txt
    """
    text = sys.stdin.read(1 << 13)
    with _desk() as (desk, _):
        version = desk.update(read(text), ROLE, SUBJECT)
    if version is None:
        sentence = "this link opens nothing any more, or was not made to be updated"
        raise CommandError(sentence, Exit.INPUT)
    say(f"the link now opens version {version}")


def _row(link: Shown) -> dict[str, Any]:
    return {
        "id": link.id,
        "state": link.ended or "open",
        "flag": link.flag,
        "version": link.version,
        "created": link.created.isoformat(),
        "expires": None if link.expires is None else link.expires.isoformat(),
        "attemptsLeft": link.attempts_left,
        "opened": link.opened,
    }


@contextmanager
def _desk() -> Iterator[tuple[Desk, str]]:
    runtime = open_runtime()
    try:
        yield Desk(runtime), runtime.config.web.public_url
    except PortableError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    finally:
        runtime.close()
