"""`python -m bench.memory [--quick]`: the largest memory of a command, on files of growing size.

Each command runs in a process of its own, whose peak the kernel counts. Flat means: ten times the
file, about the same memory. `--pages` is another question: a server that gives a long record one
Observation a page.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import orjson

from bench.cases import DAY
from bench.long import observations
from bench.served import MODEL as PATIENT
from service.sandbox.personas.hostile import Hostile
from service.sandbox.population import generate
from service.sandbox.testing import running_sandbox

MEGABYTE = 1 << 20
PEOPLE = 50
HEADERS = {
    "prevent": "id,age,sex,total-cholesterol,hdl-cholesterol,systolic-bp,bmi,egfr,diabetes,"
    "smoking-current,bp-treatment,statin\n",
    "fib4": "id,age,ast,alt,platelets\n",
}


class Peak(NamedTuple):
    name: str
    size: int
    memory: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.name:<36}{self.size / MEGABYTE:8.1f} MB{self.memory / MEGABYTE:10.0f} MB"
            f"{self.seconds:10.1f} s"
        )


@click.command()
@click.option("--quick", is_flag=True, help="Smaller files.")
@click.option("--rows", type=int, multiple=True, help="Rows of `models run`, instead of ours.")
@click.option(
    "--model",
    type=click.Choice(list(HEADERS)),
    default="prevent",
    help="Ten answers to a row, or one: prevent (the default), fib4.",
)
@click.option("--pages", type=int, multiple=True, help="Pages of a `run`, instead of files.")
def main(quick: bool, rows: tuple[int, ...], model: str, pages: tuple[int, ...]) -> None:
    """Peak memory of `twinport deidentify` and `twinport models run` on small and large files, or
    of `twinport run` against a server of tiny pages."""
    click.echo(f"{'command':<36}{'file':>11}{'peak':>13}{'processor':>12}")
    with tempfile.TemporaryDirectory() as home:
        os.environ["TWINPORT_HOME"] = f"{home}/home"
        for count in pages:
            click.echo(str(_run_of_pages(Path(home), count)))
        if pages:
            return
        if not rows:
            for count in (1_000, 10_000) if quick else (10_000, 100_000):
                click.echo(str(_deidentify(Path(home), count)))
        for count in rows or ((10_000, 100_000) if quick else (100_000, 1_000_000)):
            click.echo(str(_models_run(Path(home), model, count)))


def _deidentify(home: Path, count: int) -> Peak:
    """A folder of NDJSON, as Bulk Data exports it: fifty patients, so many Observations."""
    folder, out = home / f"export-{count}", home / f"clean-{count}"
    folder.mkdir()
    person = next(person for person in generate(DAY) if person.id == PATIENT)
    patient = next(r for r in person.resources if r["resourceType"] == "Patient")
    _write(folder / "Patient.ndjson", ({**patient, "id": _name(i)} for i in range(PEOPLE)))
    some = observations(person, count)
    owned = (
        {**r, "subject": {"reference": f"Patient/{_name(i * PEOPLE // count)}"}}
        for i, r in enumerate(some)
    )
    _write(folder / "Observation.ndjson", owned)
    size = sum(file.stat().st_size for file in folder.iterdir())
    command = ("deidentify", str(folder), "--out", str(out), "--as-of", DAY.isoformat())
    return _peak(f"deidentify, {count:,} Observations", size, command)


def _name(number: int) -> str:
    return f"long-person-{number}"


def _write(path: Path, resources: Iterator[dict[str, object]]) -> None:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(resource) + b"\n" for resource in resources)


def _models_run(home: Path, model: str, rows: int) -> Peak:
    """All outcomes and horizons of every row, without intervals."""
    table, out = home / f"rows-{rows}.csv", home / f"out-{rows}.csv"
    with table.open("w") as file:
        file.write(HEADERS[model])
        file.writelines(_ROW[model](i) for i in range(rows))
    size = table.stat().st_size
    command = ("models", "run", model, "--in", str(table), "--out", str(out), "--no-interval")
    found = _peak(f"models run {model}, {rows:,} rows", size, command)
    table.unlink()
    out.unlink()
    return found


def _prevent(i: int) -> str:
    sex = ("female", "male")[i % 2]
    return (
        f"{i},{30 + i % 50},{sex},{150 + i % 150},{30 + i % 60},{100 + i % 80},"
        f"{20 + i % 19},{30 + i % 90},{i % 2},{i // 2 % 2},{i // 4 % 2},{i // 8 % 2}\n"
    )


def _fib4(i: int) -> str:
    return f"{i},{18 + i % 80},{10 + i % 300},{10 + i % 200},{60 + i % 400}\n"


_ROW = {"prevent": _prevent, "fib4": _fib4}


def _run_of_pages(home: Path, pages: int) -> Peak:
    """From the server to the signed twin on disk; the file is the twin."""
    person = next(person for person in generate(DAY) if person.id == PATIENT)
    out, folder = home / f"twin-{pages}", Path(os.environ["TWINPORT_HOME"])
    with running_sandbox([person], persona=Hostile("tiny-pages", pages=pages)) as server:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "twinport.toml").write_text(
            f'[servers.tiny]\nbase_url = "{server.base_url}"\nmax_pages = {pages}\n'
            "[limits]\nrun_seconds = 86400\n"
        )
        command = ("run", "--server", "tiny", "--patient", PATIENT, "--dry-run", "--out", str(out))
        found = _peak(f"run, {pages:,} pages", 0, command)
    return found._replace(size=(out / "twin.json").stat().st_size)


def _peak(name: str, size: int, command: Sequence[str]) -> Peak:
    program = "import sys; from service.cli import main; main(sys.argv[1:])"
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program, *command],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        raise click.ClickException(f"{name}: ended with {os.waitstatus_to_exitcode(status)}")
    return Peak(name, size, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    main()
