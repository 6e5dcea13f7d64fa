"""`python -m bench [--quick] [--json] [--only WORD] [--folder BUNDLES]`."""

import os
import platform
from pathlib import Path

import click
import orjson

from bench.cases import cases
from bench.harness import Figure, measure, table
from service import collector


@click.command()
@click.option("--quick", is_flag=True, help="Fewer patients and rounds; the figures are rougher.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--only", default="", metavar="WORD", help="Cases whose name holds the word.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Patients' Bundles (.json, .json.gz) for the cases of whole Bundles, instead of our own.",
)
def main(quick: bool, as_json: bool, only: str, folder: Path | None) -> None:
    """Measure, as ratios to a floor taken in the same run. Nothing here fails by being slow."""
    rounds = 3 if quick else 9
    figures: list[Figure] = []
    with cases(quick, folder) as found:
        collector.settle()  # as a process that serves has done
        for case in found:
            if only in case.name:
                click.echo(f"measuring: {case.name}", err=True)
                figures.append(measure(case, rounds))
    if as_json:
        click.echo(orjson.dumps({"machine": machine(), "figures": [f.as_dict() for f in figures]}))
    else:
        click.echo(f"{machine()}, medians of {rounds}\n\n{table(figures)}")


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
