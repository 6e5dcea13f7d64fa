"""Writes docs/cli.md from the commands themselves: `python -m service.cli.docs`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from service.cli import COMMANDS, cli
from service.cli.exits import MEANING

PAGE = Path("docs/cli.md")
HEAD = """\
# The command line

Every command, made from the commands themselves (`python -m service.cli.docs`); `--help` says
the same.

Without any configuration everything works on embedded defaults; what has to be kept (keys,
database) lies in `TWINPORT_HOME`, by default `~/.twinport`. Results go to standard output,
everything said on the way to standard error, so that `--json` can be piped. An error is one line
and one of these codes:

| exit code | means |
|---|---|
"""


def render() -> str:
    codes = "".join(f"| {int(code)} | {text} |\n" for code, text in MEANING.items())
    return HEAD + codes + "\n" + _index() + "".join(_section(*found) for found in commands())


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before what is in them."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield f"twinport {name}", command
        if isinstance(command, click.Group):
            yield from _within(f"twinport {name}", command)


def _within(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in sorted(group.list_commands(context)):
        command = group.get_command(context, each)
        assert command is not None
        yield f"{name} {each}", command


def _index() -> str:
    rows = (
        f"| [`twinport {name}`](#twinport-{name}) | {text} |"
        for name, (_, text) in COMMANDS.items()
    )
    return "\n".join(["| command | |", "|---|---|", *rows]) + "\n"


def _section(name: str, command: click.Command) -> str:
    marks = "##" if name.count(" ") == 1 else "###"
    context = click.Context(command, info_name=name)
    parts = [f"\n{marks} {name}\n", *_help(command)]
    if not isinstance(command, click.Group):
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f"```console\n{name} {usage}\n```\n", *_options(command, context)]
    return "\n".join(parts)


def _help(command: click.Command) -> Iterator[str]:
    """The paragraphs of the help; those that may not be re-wrapped are examples."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```console\n{paragraph[2:]}\n```\n"
        else:
            yield paragraph + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = [row for param in command.params if (row := param.get_help_record(context))]
    if rows:
        yield "| option | |\n|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
