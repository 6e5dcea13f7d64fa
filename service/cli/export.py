"""`twinport export`: twins in the formats that others read.

Files are verified first. A twin leaves its signature behind when it changes its form: what is
written here is readable by anybody and provable by nobody. The signed file is the twin.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import click
import orjson

from mappings.to_fhir.twin_bundle import ips_bundle, twin_bundle
from privacy.signing import envelope
from service.cli.exits import CommandError, Exit
from service.cli.locks import ENDING, lock_options, locker
from service.cli.output import emit, say
from service.cli.purposes import purpose_option
from service.cli.trust import trusted_keys
from service.cli.verify import check_bytes, check_file, expiries
from service.config import load_config
from service.patient.consent import NotConsentedError
from service.patient.everything import as_archive, everything
from service.pipeline.package import package
from service.pipeline.runtime import open_runtime
from service.portable import sphr
from service.stores import open_database
from service.stores.runs import RunStore
from service.stores.twins import TwinStore
from twin_engine.document import MEDIA_TYPE, Twin
from twin_engine.models.cards import card
from twin_engine.models.registry import all_models
from twin_engine.models.shelf import Expiry
from twin_engine.tables import (
    LONG,
    OmopError,
    columns,
    long_rows,
    omop_tables,
    wide_rows,
)

Json = dict[str, Any]
NO_PARQUET = "Parquet needs the library pyarrow: pip install 'twinport[parquet]', or use --to csv"


class Written(NamedTuple):
    """One file to be written, and what to say about it."""

    name: str
    data: bytes
    kind: str = "application/octet-stream"


class Given(NamedTuple):
    """A verified twin and the file it stands in."""

    twin: Twin
    file: bytes
    days_since: int | None = None  # the record was last looked at, where that is known here


@click.command("export")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--twin", "pseudonym", metavar="ID", help="A twin of this installation instead.")
@click.option(
    "--version", "number", type=int, metavar="N", help="With --twin: as known at that version."
)
@click.option(
    "--to",
    "form",
    type=click.Choice(["twin", "sphr", "fhir", "ips", "pdf", "csv", "parquet", "omop"]),
    help="twin: the signed file; sphr: a signed package; the others lose the signature.",
)
@click.option(
    "--all",
    "whole",
    is_flag=True,
    help="With --twin, in place of --to: everything that is held about it, as one zip.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder; made when it is not there.",
)
@click.option(
    "--dated", is_flag=True, help="With ips: today's date on the document, as IPS requires."
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@purpose_option
@lock_options
@click.option("--json", "as_json", is_flag=True, help="What was written, as one JSON object.")
def command(
    files: tuple[Path, ...],
    pseudonym: str | None,
    number: int | None,
    form: str | None,
    whole: bool,
    out: Path,
    dated: bool,
    keys: Path | None,
    purpose: str,
    as_json: bool,
    **lock: Any,
) -> None:
    """Write twins as FHIR, as a patient summary, as tables, or an earlier version as it was.

    Several FILES make one set of tables, or one Bundle each. `--dated` lets a receiver work out
    when things happened; without it an IPS document lacks dates that IPS requires. A package
    (sphr) is made with --twin alone: it holds what the ledger says of the twin.

    \b
    twinport export here/twin.json --to fhir --out there
    twinport export cohort/*/twin.json --to omop --out cdm
    twinport export --twin ID --version 1 --to twin --out before
    twinport export --twin ID --all --new-passphrase --out leaving
    """
    if bool(files) == bool(pseudonym) or (number is not None and not pseudonym):
        raise click.UsageError("give twin files, or --twin ID (and --version N)")
    if whole == bool(form) or (whole and (not pseudonym or number is not None)):
        raise click.UsageError("give --to FORM, or --twin ID with --all")
    if dated and form != "ips":
        raise click.UsageError("--dated belongs to --to ips")
    if form == "sphr" and not pseudonym:
        raise click.UsageError("--to sphr takes --twin ID: a package is made where the twin is")
    locked = locker(**lock)
    if form is None:
        written = [_everything(str(pseudonym))]  # to the person: what is held is theirs
    else:
        given = [_stored(pseudonym, number)] if pseudonym else [_read(path, keys) for path in files]
        if keys is None:  # twins of somebody else's are under somebody else's rules
            _require_consent(given, purpose)
        written = _written(form, given, dated)
    if locked is not None:
        written = [Written(f"{w.name}{ENDING}", locked(w.data, w.kind)) for w in written]
    _write(out, written)
    if as_json:
        emit({"out": str(out), "files": [one.name for one in written]})
        return
    say(f"{len(written)} files in {out}")
    for one in written:
        click.echo(f"{one.name}  {len(one.data):,} bytes")


def _written(form: str, given: Sequence[Given], dated: bool) -> list[Written]:
    try:
        return _FORMS[form](given, dated)
    except OmopError as error:
        raise CommandError(str(error), Exit.INPUT) from None


def _everything(pseudonym: str) -> Written:
    runtime = open_runtime()
    try:
        found = everything(runtime, pseudonym)
    finally:
        runtime.close()
    if found is None:
        raise CommandError("no such twin is kept here", Exit.USAGE)
    return Written("everything.zip", as_archive(found), "application/zip")


# -- in --------------------------------------------------------------------------------------------


def _read(path: Path, keys: Path | None) -> Given:
    return Given(check_file(path, trusted_keys(keys)).twin, path.read_bytes())


def _require_consent(given: Sequence[Given], purpose: str) -> None:
    """Of each patient, before anything is written. Refusals are in the audit."""
    runtime = open_runtime()
    try:
        for one in given:
            runtime.consents.require_twin(one.twin.id, purpose, "admin", "cli")
    except NotConsentedError as error:
        raise CommandError(str(error), Exit.BLOCKED) from None
    finally:
        runtime.close()


def _stored(pseudonym: str, number: int | None) -> Given:
    """A version as it was kept, checked like a file from anywhere."""
    database = open_database(load_config().database_url)
    try:
        found = TwinStore(database).get(pseudonym, number)
        if found is None:
            raise CommandError("no such twin, or no such version of it, is kept here", Exit.INPUT)
        about = found.about
        days = RunStore(database).days_since(pseudonym, about.version, about.created)
    finally:
        database.close()
    file = envelope(found.payload, {"jws": found.proof.decode()})
    return Given(check_bytes(file, trusted_keys(None)).twin, file, days)


# -- forms -----------------------------------------------------------------------------------------


def _twin_files(given: Sequence[Given], _: bool) -> list[Written]:
    return [Written(f"{_name(one, given)}twin.json", one.file, MEDIA_TYPE) for one in given]


def _package(given: Sequence[Given], _: bool) -> list[Written]:
    runtime = open_runtime()
    try:
        data = package(runtime, given[0].twin.id, given[0].twin.version)
    finally:
        runtime.close()
    assert data is not None  # it was read from the same database a moment ago
    return [Written("record.sphr", data, sphr.MEDIA_TYPE)]


def _name(one: Given, given: Sequence[Given]) -> str:
    """Of several, each by its pseudonym and version; of one, nothing."""
    return "" if len(given) == 1 else f"{one.twin.id}.{one.twin.version}."


def _cards() -> Mapping[str, Mapping[str, Any]]:
    return {name: card(model) for name, model in all_models().items()}


def _fhir(given: Sequence[Given], _: bool) -> list[Written]:
    cards = _cards()
    return [
        Written(
            f"{_name(one, given)}fhir.json",
            _json(twin_bundle(one.twin.document, cards, one.days_since)),
        )
        for one in given
    ]


def _ips(given: Sequence[Given], dated: bool) -> list[Written]:
    cards, now = _cards(), datetime.now(UTC).replace(microsecond=0) if dated else None
    return [
        Written(
            f"{_name(one, given)}ips.json",
            _json(ips_bundle(one.twin.document, cards, now, one.days_since)),
        )
        for one in given
    ]


def _pdf(given: Sequence[Given], _: bool) -> list[Written]:
    """A summary to print of each twin."""
    from service.pages.printed import summary_pdf

    cards = _cards()
    return [
        Written(
            f"{_name(one, given)}summary.pdf",
            summary_pdf(one.twin.document, cards, one.twin.digest, _ends(one)),
            "application/pdf",
        )
        for one in given
    ]


def _ends(one: Given) -> Mapping[str, Expiry]:
    """Of a file nobody knows how old it is: it says nothing on paper that may be untrue."""
    return {} if one.days_since is None else expiries(one.twin.document, one.days_since)


def _csv_files(given: Sequence[Given], _: bool) -> list[Written]:
    documents = _documents(given)
    names, rows = wide_rows(documents)
    return [
        Written("long.csv", as_csv(LONG, (row._asdict() for row in long_rows(documents)))),
        Written("wide.csv", as_csv(names, rows)),
        _readme("flat.txt"),
    ]


def _parquet(given: Sequence[Given], _: bool) -> list[Written]:
    try:
        from service.cli.parquet import long_parquet, wide_parquet
    except ModuleNotFoundError:
        raise CommandError(NO_PARQUET, Exit.SETUP) from None
    documents = _documents(given)
    return [
        Written("long.parquet", long_parquet(documents)),
        Written("wide.parquet", wide_parquet(documents)),
        _readme("flat.txt"),
    ]


def _omop(given: Sequence[Given], _: bool) -> list[Written]:
    made = omop_tables(_documents(given))
    written = [
        Written(f"{name}.csv", as_csv([column.name for column in columns()[name]], rows))
        for name, rows in made.tables.items()
    ]
    left_out = "".join(f"  {n:>7,}  {why}\n" for why, n in sorted(made.left_out.items()))
    return [*written, _readme("omop.txt", f"\nLeft out here:\n{left_out or '  nothing'}\n")]


_FORMS: Mapping[str, Callable[[Sequence[Given], bool], list[Written]]] = {
    "twin": _twin_files,
    "sphr": _package,
    "fhir": _fhir,
    "ips": _ips,
    "pdf": _pdf,
    "csv": _csv_files,
    "parquet": _parquet,
    "omop": _omop,
}


def _documents(given: Sequence[Given]) -> list[Mapping[str, Any]]:
    return [one.twin.document for one in given]


def _readme(name: str, more: str = "") -> Written:
    text = resources.files("service.cli").joinpath("exports", name).read_text("utf-8")
    return Written("README.txt", (text + more).encode())


# -- out -------------------------------------------------------------------------------------------


def as_csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """RFC 4180 with a header; what a row does not have is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="", extrasaction="raise", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if cell is None else cell for name, cell in row.items()})
    return text.getvalue().encode()


def _json(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def _write(out: Path, files: Iterable[Written]) -> None:
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in files:
        fresh = out / f"{one.name}.part"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(one.data)
        fresh.replace(out / one.name)
