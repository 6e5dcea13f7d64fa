"""Commands that take a privacy officer: who it is, by a key that is never an argument."""

from pathlib import Path

import click

from service.auth import Access
from service.auth.errors import AuthError
from service.auth.principals import Principal
from service.cli.exits import CommandError, Exit
from service.pipeline.runtime import Runtime

KEY_FILE = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with your own privacy officer's API key. Default: it is asked for.",
)


def officer(runtime: Runtime, key_file: Path | None) -> Principal:
    """Keys are no arguments: other users of the machine can read those."""
    text = key_file.read_text("utf-8") if key_file else click.prompt("API key", hide_input=True)
    access = Access.build(runtime.config, runtime.database, runtime.keys.session.material)
    try:
        return access.api_keys.check(text.strip())
    except AuthError:
        raise CommandError("the API key is not valid", Exit.USAGE) from None
