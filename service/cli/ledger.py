"""`twinport ledger`: the record of what was de-identified and how."""

from collections.abc import Iterator
from pathlib import Path

import click

from privacy import ledger
from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.pipeline.runtime import open_runtime
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex


@click.group("ledger")
def command() -> None:
    """Append-only, hash-chained, signed. Holds counts, digests and pseudonyms; no value."""


@command.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--excerpt", is_flag=True, help="The file may leave entries out.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def verify_command(file: Path | None, keys: Path | None, excerpt: bool, as_json: bool) -> None:
    """Find any change, removal, re-ordering or truncation; of this installation's ledger, or of
    an exported FILE, offline. Exit code 7 when there is one."""
    lines = _own_lines() if file is None else _file_lines(file)
    report = ledger.verify_ledger(lines, trusted_keys(keys), whole=not excerpt)
    if as_json:
        problems = [{"line": p.line, "what": p.what} for p in report.problems]
        emit({"ok": report.ok, "entries": report.entries, "problems": problems})
    if not report.ok:
        first = report.problems[0]
        more = len(report.problems) - 1
        rest = f" (and {more} more)" if more else ""
        raise CommandError(f"line {first.line}: {first.what}{rest}", Exit.NOT_VERIFIED)
    if not as_json:
        click.echo(f"verified  {report.entries} entries, head {report.last.digest}")


@command.command("certificate")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--twin", required=True, help="The twin, or a patient's id in a file.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The certificate as one JSON object.")
def certificate_command(file: Path | None, twin: str, keys: Path | None, as_json: bool) -> None:
    """Prove, from a whole ledger, that nobody can tell any more who a twin is: the ledger verifies,
    an entry certifies the erasure, and no later entry names one of the twins again."""
    lines = list(_own_lines() if file is None else _file_lines(file))
    report = ledger.verify_ledger(lines, trusted_keys(keys))
    if not report.ok:
        first = report.problems[0]
        raise CommandError(f"line {first.line}: {first.what}", Exit.NOT_VERIFIED)
    found = ledger.certificate(lines, twin)
    if found is None:
        raise CommandError("the ledger holds no certificate for it", Exit.INPUT)
    if found.since:
        raise CommandError(f"entry {found.since[0]} names it again", Exit.NOT_VERIFIED)
    entry = found.entry
    if as_json:
        emit({"seq": found.seq, "digest": found.digest, "entry": entry})
        return
    click.echo(f"certified  entry {found.seq}  {found.digest}")
    click.echo(f"{entry['records']} ways back destroyed, {entry['left']} left; of these twins:")
    for name in entry["twins"]:
        click.echo(name)


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export_command(file: Path) -> None:
    """Write the whole ledger as JSON lines, closed by a signed line that names its end."""
    lines = list(_own_lines())
    put(file, b"".join(line + b"\n" for line in lines))
    click.echo(f"{len(lines) - 1} entries and the closing line")


@command.command("reindex")
def reindex_command() -> None:
    """Fill the tables that lists and sums are read from anew, from the ledger itself."""
    runtime = open_runtime()
    try:
        click.echo(f"{LedgerIndex(runtime.database).rebuild()} entries sorted in")
    finally:
        runtime.close()


def _own_lines() -> Iterator[bytes]:
    runtime = open_runtime()
    try:
        yield from ledger.export(SqlLedgerStore(runtime.database), runtime.signer)
    finally:
        runtime.close()


def _file_lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise CommandError(f"can't read the file ({type(error).__name__})", Exit.INPUT) from None
