"""`twinport whatif`: other inputs, or what trials of one treatment measured."""

from pathlib import Path

import click

from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.cli.verify import check_file
from service.config import load_config
from service.whatif import Question, WhatIfError, answer, lines


@click.command("whatif")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--model", "model_id", default="prevent", show_default=True, metavar="ID[:VARIANT]")
@click.option("--set", "changes", multiple=True, metavar="INPUT=VALUE", help="May be repeated.")
@click.option("--treatment", metavar="ID", help="One; none is ever added to another.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(
    file: Path,
    model_id: str,
    changes: tuple[str, ...],
    treatment: str | None,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Run a model on a twin with some inputs exchanged (--set, in the units of its card), or apply
    what trials of one treatment measured to its predicted risk (--treatment). Nothing is stored.

    \b
    twinport whatif twin.json --set systolic-bp=120 --set smoking-current=0
    twinport whatif twin.json --treatment lower-ldl-1
    """
    try:
        question = Question(model_id, _set(changes), treatment or "")
        document = check_file(file, trusted_keys(keys)).twin.document
        found = answer(document, question, _settings())
    except WhatIfError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if as_json:
        emit(found)
    else:
        click.echo("\n".join(lines(found)))


def _settings() -> dict[str, str]:
    stated = load_config().models.settings
    return {name.replace("_", "-"): word for name, word in stated.items()}


def _set(changes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign or not name or name in found:
            raise WhatIfError("--set takes INPUT=VALUE, each input once")
        found[name] = value
    return found
