"""`twinport policy`: what is decided where, why, and what it supports."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

import click

from privacy.errors import PolicyError
from privacy.explain import DICOM, HIPAA, Explanation, differences, explain, leaves
from privacy.policy import (
    Policy,
    Verdict,
    load_policy,
    make_policy,
    merged,
    policy_ids,
    read_policy,
)
from service.cli.exits import CommandError, Exit
from service.cli.lazy import LazyGroup
from service.cli.output import emit

NAME = click.Choice(policy_ids())
INDENTED: Any = {"subsequent_indent": " " * 8, "break_long_words": False}


@click.group("policy", cls=LazyGroup, later={"weigh": "service.cli.weigh:command"})
def command() -> None:
    """De-identification policies: every element of R4 has a verdict in each of them."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(as_json: bool) -> None:
    """The policies there are, and what each is for."""
    policies = [load_policy(name) for name in policy_ids()]
    if as_json:
        emit([_about(policy) for policy in policies])
        return
    for policy in policies:
        use = "twins and files" if policy.files.twins else "files only"
        click.echo(f"{policy.id:<18}v{policy.version}  {use:<16} {policy.title}")


@command.command("show")
@click.argument("policy_id", type=NAME)
@click.option("--json", "as_json", is_flag=True, help="Statement and verdicts as JSON.")
def show_command(policy_id: str, as_json: bool) -> None:
    """What a policy supports, what it does not, and how many places it judges how."""
    policy = load_policy(policy_id)
    places = {leaf.path: verdict for leaf, verdict in leaves(policy)}
    attributes = {f"{DICOM}{name}": verdict for name, verdict in policy.dicom.items()}
    if as_json:
        emit({**_about(policy), "verdicts": _texts(places), "dicom": _texts(attributes)})
        return
    click.echo(f"{policy.title}\n{policy.id} v{policy.version}  {policy.digest}\n")
    click.echo(f"Supports          {policy.supports}")
    click.echo(f"Does not support  {policy.does_not_support}")
    click.echo(f"What remains      {policy.residual}\n")
    for action, count in Counter(verdict.action for verdict in places.values()).most_common():
        click.echo(f"{count:>6}  {action}")
    click.echo("\nDICOM attributes; every other one is left out")
    for action, names in _by_action(policy).items():
        click.echo(fill(f"{len(names):>6}  {action}: {', '.join(names)}", 100, **INDENTED))


@command.command("diff")
@click.argument("one", type=NAME)
@click.argument("other", type=NAME)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def diff_command(one: str, other: str, as_json: bool) -> None:
    """What OTHER decides otherwise than ONE."""
    found = differences(load_policy(one), load_policy(other))
    if as_json:
        emit([asdict(item) for item in found])
        return
    for item in found:
        click.echo(f"{item.what}\n    {one}: {item.before}\n    {other}: {item.after}")
    if not found:
        click.echo("no difference")


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check_command(file: Path) -> None:
    """Judge a policy FILE as a shipped one is judged when it is loaded."""
    try:
        policy = make_policy(_read(file))
    except PolicyError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    places = sum(1 for _ in leaves(policy))
    click.echo(f"complete  {policy.id} v{policy.version}  {places} places  {policy.digest}")


@command.command("explain")
@click.argument("path")
@click.option("--policy", "policy_id", type=NAME, default="safe-harbor", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def explain_command(path: str, policy_id: str, as_json: bool) -> None:
    """What happens at PATH, such as Patient.birthDate, by which rule and why."""
    try:
        found = explain(load_policy(policy_id), path)
    except PolicyError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if as_json:
        emit(asdict(found))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Explanation) -> list[str]:
    lines = [f"{found.path}  ({found.type})", f"  {found.action}: {found.meaning}"]
    lines += [f"  because: {found.reason}"] if found.reason else []
    lines += [f"  identifier {letter}: {HIPAA[letter]}" for letter in found.categories]
    return [*lines, f"  rule: {found.rule}"]


def _texts(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    return {
        place: ": ".join(filter(None, [verdict.action, verdict.detail]))
        for place, verdict in verdicts.items()
    }


def _by_action(policy: Policy) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, verdict in sorted(policy.dicom.items()):
        found.setdefault(verdict.action, []).append(name)
    return found


def _about(policy: Policy) -> dict[str, Any]:
    return {
        **policy.as_reference(),
        "title": policy.title,
        "supports": policy.supports,
        "doesNotSupport": policy.does_not_support,
        "remains": policy.residual,
        "twins": policy.files.twins,
        "dates": policy.files.dates,
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        own = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"can't read the file ({type(error).__name__})", Exit.INPUT) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise CommandError("is not TOML; see the header of a shipped policy", Exit.INPUT) from None
    parent = own.pop("inherits", None)
    return own if parent is None else merged(read_policy(str(parent)), own)
