"""`twinport receive`: twins from elsewhere, and `twinport trust`: whose are taken."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit, say
from service.pipeline.runtime import open_runtime
from service.portable.errors import PortableError
from service.receive.desk import LARGEST, Received, Reception
from service.receive.errors import ReceiveError
from service.receive.fetch import twin_behind
from service.sharing.link import SCHEME, read

ROLE, SUBJECT = "admin", "cli"
_json = click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
_path = click.Path(path_type=Path, dir_okay=False)


@click.command("receive")
@click.argument("source", required=False, metavar="[FILE|LINK]")
@click.option("--recipient", default="Twinport", show_default=True, help="Shown to the giver.")
@click.option("--passcode-file", type=_path, help="Of a link: its passcode, in the first line.")
@click.option("--show", metavar="ID", help="Write a twin from elsewhere that is held; with --out.")
@click.option("--out", type=_path, help="With --show: where to.")
@_json
def receive_command(
    source: str | None,
    recipient: str,
    passcode_file: Path | None,
    show: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Take in a twin, a package or a health link from another installation.

    It is verified against the issuers you trust (`twinport trust`), and kept as foreign: beside
    the twins of this installation, never in place of one. Its answers stay its issuer's. `-` reads
    a link from standard input, where no list of processes shows it. Without a source: what is held.

    \b
    twinport receive record.sphr
    twinport receive - < link.txt
    twinport receive --show ID --out twin.json
    """
    if bool(show) != (out is not None) or (show and source):
        raise click.UsageError("give a source, or --show ID with --out FILE, or nothing")
    with _desk() as desk:
        if show and out is not None:
            put(out, desk.file(show))
        elif source is None:
            _list(desk, as_json)
        else:
            data = _data(source, recipient, passcode_file)
            _tell(desk.receive(data, ROLE, SUBJECT), as_json)


def _data(source: str, recipient: str, passcode_file: Path | None) -> bytes:
    text = sys.stdin.read(1 << 13) if source == "-" else source
    if SCHEME in text:
        passcode = passcode_file.read_text("utf-8").split("\n")[0] if passcode_file else ""
        return twin_behind(read(text), recipient, passcode.strip())
    if source == "-":
        raise ReceiveError("what was given is no health link: it does not hold `shlink:/`")
    with Path(source).open("rb") as file:
        return file.read(LARGEST + 1)


def _tell(found: Received, as_json: bool) -> None:
    row = found.as_dict()
    if as_json:
        emit(row)
        return
    click.echo(f"{found.twin.id}  version {found.twin.version}  of {found.issuer}")
    if not found.new:
        say("exactly this is held here already; nothing was changed")
    elif found.follows is not None:
        say(f"it follows version {found.follows}, {'our own' if found.ours else 'held here'}")


def _list(desk: Reception, as_json: bool) -> None:
    held = desk.held()
    if as_json:
        emit([{"twin": t.twin, "version": t.version, "issuer": t.issuer} for t in held])
        return
    for twin in held:
        click.echo(f"{twin.twin}  version {twin.version}  of {twin.issuer}")


@click.group("trust")
def trust_command() -> None:
    """Whose twins are taken: issuers that you name, each key pinned by its thumbprint."""


@trust_command.command("add")
@click.argument("issuer")
@click.option("--keys", required=True, type=_path, help="The issuer's key set (JWKS).")
@click.option(
    "--thumbprint",
    "thumbprints",
    multiple=True,
    metavar="KID",
    help="A key to trust, as its issuer told it you another way; may be given again.",
)
def add_command(issuer: str, keys: Path, thumbprints: tuple[str, ...]) -> None:
    """Trust keys of an issuer.

    \b
    twinport trust add clinic-b --keys keys.json --thumbprint NcUHhrlt...
    """
    with _desk() as desk:
        added = desk.trust.add(issuer, _json_of(keys), thumbprints)
    say(f"{len(added)} keys of {issuer} are trusted")


@trust_command.command("list")
@_json
def list_command(as_json: bool) -> None:
    """Every trusted key, by issuer and thumbprint."""
    with _desk() as desk:
        found = desk.trust.all()
    if as_json:
        emit([{"issuer": one.issuer, "thumbprint": one.kid} for one in found])
        return
    for one in found:
        click.echo(f"{one.issuer}  {one.kid}  since {one.added:%Y-%m-%d}")


@trust_command.command("remove")
@click.argument("name", metavar="ISSUER|THUMBPRINT")
def remove_command(name: str) -> None:
    """Take nothing more of an issuer, or signed by one key. What is held stays, as foreign."""
    with _desk() as desk:
        if not desk.trust.remove(name):
            raise ReceiveError("no such issuer or key; see `twinport trust list`")


def _json_of(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except ValueError:
        raise ReceiveError("the key file holds no JWK set (JSON with `keys`)") from None


@contextmanager
def _desk() -> Iterator[Reception]:
    runtime = open_runtime()
    try:
        yield Reception(runtime)
    except (ReceiveError, PortableError) as error:
        code = Exit.NOT_VERIFIED if "not verified" in str(error) else Exit.INPUT
        raise CommandError(str(error), code) from None
    finally:
        runtime.close()


command = receive_command
