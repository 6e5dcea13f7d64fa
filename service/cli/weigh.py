"""`twinport policy weigh`: what each policy leaves of records, beside the risk that is left."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from service.bulk.folder import opened
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.config import Config, load_config
from service.deidentify.files import Inputs
from service.deidentify.weigh import weigh
from service.fhir.bundle import read_bundle
from service.fhir.record import PatientRecord

Json = dict[str, Any]

DAY = click.DateTime(["%Y-%m-%d"])
WIDTH = 18


def share(part: str, whole: str) -> Callable[[Json], str]:
    return lambda found: f"{found[part] / found[whole]:.1%}" if found[whole] else "-"


def change(name: str) -> Callable[[Json], str]:
    return lambda found: "-" if found[name] is None else f"{found[name]:.2%}"


def count(name: str) -> Callable[[Json], str]:
    return lambda found: str(found[name])


LINES: dict[str, Sequence[tuple[str, Callable[[Json], str]]]] = {
    "utility": (
        ("inputs of models kept", share("inputsKept", "inputs")),
        ("with the same value", share("inputsSame", "inputs")),
        ("outcomes of models given", share("answersKept", "answers")),
        ("with the same number", share("answersSame", "answers")),
        ("concepts kept", share("conceptsKept", "concepts")),
        ("readings kept", share("readingsKept", "readings")),
        ("to clinical precision", share("clinicalPrecision", "readings")),
        ("median change of one", change("medianChange")),
    ),
    "risk": (
        ("groups alike in a file", count("classes")),
        ("people in the smallest", count("k")),
        ("people alone in theirs", count("alone")),
        ("found by two facts", change("found")),
    ),
}


@click.command("weigh")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--as-of", "day", type=DAY, metavar="DAY", help="Ages are told for this day. Default: today."
)
@click.option("--json", "as_json", is_flag=True, help="All figures, by policy and model.")
def command(path: Path, day: datetime | None, as_json: bool) -> None:
    """What each policy leaves of the records in PATH, next to the risk that it leaves.

    PATH is a Bundle, or a folder of Bundles or of NDJSON. Every policy is compared with the record
    as it is. Nothing is kept or sent, and no value is shown.

    \b
    twinport policy weigh export/
    """
    config = load_config()
    settings = {n.replace("_", "-"): word for n, word in config.models.settings.items()}
    weighed = weigh(_records(path, config), settings, day and day.date())
    found = [one.as_dict() for one in weighed]
    if not found[0]["people"]:
        raise CommandError("no patient of these records can be used", Exit.INPUT)
    if as_json:
        emit(found)
        return
    for line in lines(found):
        click.echo(line)


def lines(found: Sequence[Json]) -> Iterator[str]:
    yield f"{found[0]['people']} people"
    yield _line("", [one["policy"] for one in found])
    for part, rows in LINES.items():
        yield part
        for name, told in rows:
            yield _line(f"  {name}", [told(one[part]) for one in found])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<26}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)


def _records(path: Path, config: Config) -> Iterator[PatientRecord]:
    inputs = Inputs.of(path)
    if inputs.by_line:
        with opened(path, config.spool_dir) as folder:
            yield from folder.records()
    for file in inputs.whole:
        yield from read_bundle(file)
