"""`twinport recompute`: run a twin's recorded models again and compare, digit for digit."""

from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.cli.verify import check_file
from twin_engine.models.assess import Beside, Comparison, recompute

SENTENCES = {
    "same": "the same to the last digit",
    "different": "DIFFERENT from what is recorded",
    "model-not-installed": "not recomputed: the model is not installed here",
    "other-version": "not recomputed: another version of the model is installed here; beside it:",
    "other-now": "not recomputed: it was made at another time of this twin",
}


@click.command("recompute")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(file: Path, keys: Path | None, as_json: bool) -> None:
    """Verify a twin, then run its recorded models on it again. Exit code 7 when one differs.

    Where another version of a model is installed, its answer is shown beside what is recorded,
    never in its place.
    """
    checked = check_file(file, trusted_keys(keys))
    found = recompute(checked.twin.document)
    if as_json:
        emit({"twin": checked.twin.id, "models": [_row(one) for one in found]})
    else:
        for one in found:
            click.echo(_line(one))
            for beside in one.beside:
                click.echo(_beside(one, beside))
    if any(one.outcome == "different" for one in found):
        raise CommandError("a recorded answer can't be reproduced", Exit.NOT_VERIFIED)


def _row(one: Comparison) -> dict[str, Any]:
    return {**one._asdict(), "beside": [beside._asdict() for beside in one.beside]}


def _beside(one: Comparison, beside: Beside) -> str:
    horizon = "" if beside.years is None else f", {beside.years:g} years"
    recorded, now = (
        "no number" if value is None else f"{value:.6g}" for value in (beside.recorded, beside.now)
    )
    return (
        f"  {beside.outcome}{horizon}: recorded {recorded}; by version {one.installed} here {now}"
    )


def _line(one: Comparison) -> str:
    return f"{one.model} {one.version}: {SENTENCES[one.outcome]}"
