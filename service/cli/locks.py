"""Encryption of what a command writes, and `twinport unlock`, which opens it again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import say
from service.portable import locked
from service.portable.errors import LockedError, PortableError

Command = TypeVar("Command", bound=Callable[..., Any])
Locker = Callable[[bytes, str], bytes]
"""(content, media type) → what is written in its place."""

ENDING = ".jwe"
LARGEST_SECRET = 4096


def lock_options(command: Command) -> Command:
    options = (
        click.option(
            "--passphrase",
            "ask",
            is_flag=True,
            help="Encrypt under a passphrase, asked for twice.",
        ),
        click.option(
            "--passphrase-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Encrypt under the passphrase in the first line of this file.",
        ),
        click.option(
            "--new-passphrase",
            "fresh",
            is_flag=True,
            help="Encrypt under a new, unguessable passphrase, which is said once.",
        ),
        click.option(
            "--for",
            "receiver",
            metavar="JWK",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Encrypt for one receiver: their public key (JWK, P-256 or X25519).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def locker(
    ask: bool, passphrase_file: Path | None, fresh: bool, receiver: Path | None
) -> Locker | None:
    """What the options ask for; None: nothing is encrypted."""
    if sum(map(bool, (ask, passphrase_file, fresh, receiver))) > 1:
        raise click.UsageError("choose one: a passphrase, a new passphrase, or a receiver's key")
    if receiver:
        jwk = _jwk(receiver)
        return lambda content, kind: _said(locked.address, content, jwk, kind)
    secret = _passphrase(ask, passphrase_file, fresh)
    if secret is None:
        return None
    return lambda content, kind: _said(locked.lock, content, secret, kind)


def _said(way: Callable[..., str], *arguments: Any) -> bytes:
    try:
        return way(*arguments).encode() + b"\n"
    except PortableError as error:
        raise CommandError(str(error), Exit.INPUT) from None


def _passphrase(ask: bool, path: Path | None, fresh: bool) -> str | None:
    if fresh:
        made = locked.new_passphrase()
        say(f"passphrase, not kept anywhere and not said again: {made}")
        return made
    if path is not None:
        return _first_line(path)
    if ask:
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))
    return None


def _first_line(path: Path) -> str:
    lines = path.read_text("utf-8", errors="strict")[:LARGEST_SECRET].splitlines()
    if not lines or not lines[0].strip():
        raise CommandError("the file holds no passphrase in its first line", Exit.INPUT)
    return lines[0].strip()


def _jwk(path: Path) -> Mapping[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CommandError("the key file holds no JWK (one JSON object)", Exit.INPUT)
    return found


@click.command("unlock")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to."
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The passphrase in the first line of this file. Default: it is asked for.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Your private key (JWK), for a file that was encrypted for you.",
)
def command(file: Path, out: Path, passphrase_file: Path | None, key: Path | None) -> None:
    """Open an encrypted export. What is inside is not judged: `twinport verify` does that.

    \b
    twinport unlock twin.json.jwe --out twin.json
    twinport unlock record.sphr.jwe --key my-key.json --out record.sphr
    """
    try:
        text = file.read_text("ascii").strip()
    except ValueError:
        raise CommandError("this is not an encrypted export", Exit.INPUT) from None
    try:
        if key is not None:
            opened = locked.open_addressed(text, _jwk(key))
        else:
            opened = locked.unlock(text, _asked(text, passphrase_file))
    except LockedError as error:
        raise CommandError(str(error), Exit.NOT_VERIFIED) from None
    except PortableError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    put(out, opened.content)
    say(f"{len(opened.content):,} bytes; check them with `twinport verify`")


def _asked(text: str, path: Path | None) -> str:
    if not locked.needs_passphrase(text):
        raise PortableError("it was encrypted for a receiver's key: give yours with --key")
    if path is not None:
        return _first_line(path)
    return str(click.prompt("Passphrase", hide_input=True, err=True))
