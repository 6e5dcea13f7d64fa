"""`twinport verify`: is this twin what its issuer signed? Offline; nothing in it is trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from privacy.errors import PrivacyError
from privacy.signing import Life, VerificationKeys, open_envelope, verify
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.portable.errors import PortableError
from service.portable.sphr import is_package, open_package
from twin_engine.document import DocumentError, Twin, read
from twin_engine.models.registry import all_models
from twin_engine.models.shelf import Expiry, expiry
from twin_engine.state import UNITS_PER_DAY


@dataclass(frozen=True)
class Checked:
    twin: Twin
    kid: str
    ledger: str
    key: Life
    parts: int = 0
    """Of a package: how many files in it are what its issuer listed."""

    def as_dict(self, days: int = 0) -> dict[str, Any]:
        head = self.twin.document["twin"]
        return {
            "verified": True,
            "twin": self.twin.id,
            "version": self.twin.version,
            "digest": self.twin.digest,
            "policy": head["policy"]["id"],
            "signedBy": self.kid,
            **({"keySince": self.key.since.isoformat()} if self.key.since else {}),
            **({"keyRetired": self.key.until.isoformat()} if self.key.until else {}),
            "ledger": self.ledger,
            "assessments": len(self.twin.assessments),
            **({"parts": self.parts} if self.parts else {}),
            "expires": [
                {"model": model, "daysLeft": end.days_left, "cause": end.cause}
                for model, end in expiries(self.twin.document, days).items()
            ],
        }


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option(
    "--days",
    type=click.IntRange(0, 40_000),
    default=0,
    help="How many days ago it was made: a twin knows no date. Then says which answers are past.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(file: Path, keys: Path | None, days: int, as_json: bool) -> None:
    """Check signature, digest and schema of a twin file. Exit code 7 when anything disagrees.

    The signature covers the document byte by byte: re-formatting the file breaks it. Of a package
    (.sphr) each part is checked, that the ledger inside tells how the twin was made, and that each
    entry is of a time at which its key signed. What a key signed before it was renewed stays
    verified, and is said to be of a retired key.

    \b
    twinport verify record.sphr --keys keys.json --days 90
    """
    checked = check_file(file, trusted_keys(keys))
    if as_json:
        emit(checked.as_dict(days))
        return
    found = checked.as_dict(days)
    click.echo(f"verified  twin {found['twin']} version {found['version']}")
    for name in ("digest", "policy", "signedBy", "ledger", "assessments", "parts"):
        if name in found:
            click.echo(f"  {name:<11} {found[name]}")
    click.echo(f"  {'key':<11} {_life(checked.key)}")
    for end in found["expires"]:
        click.echo(f"  {'expires':<11} {end['model']}: {_left(end['daysLeft'], days)}")


def expiries(document: Mapping[str, Any], days: int) -> dict[str, Expiry]:
    """What ends each answer first, by the models installed here, in the version that answered."""
    models, per_day = all_models(), UNITS_PER_DAY[document["twin"]["timeUnit"]]
    found = {
        one["model"]["id"]: expiry(one, models[one["model"]["id"]], per_day, days)
        for one in document["assessments"]
        if one["results"]
        and one["model"]["id"] in models
        and models[one["model"]["id"]].version == one["model"]["version"]
    }
    return {model: end for model, end in found.items() if end is not None}


def _left(left: int, days: int) -> str:
    if left < 0:
        return f"past, {-left} days ago"
    return f"in {left} days" if days else f"{left} days after it was made"


def _life(key: Life) -> str:
    if key.until:
        return f"retired on {key.until}; what it signed before stays verified"
    return f"current, since {key.since}" if key.since else "its issuer does not say since when"


def check_file(file: Path, keys: VerificationKeys) -> Checked:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"can't read the file ({type(error).__name__})", Exit.INPUT) from None
    return check_bytes(data, keys)


def check_bytes(data: bytes, keys: VerificationKeys) -> Checked:
    if is_package(data):
        return _check_package(data, keys)
    payload, signature = _opened(data)
    try:
        verified = verify(signature, payload, keys)
        twin = read(payload)
    except PrivacyError as error:
        raise CommandError(f"not verified: {error}", Exit.NOT_VERIFIED) from None
    except DocumentError as error:
        raise CommandError(f"signed, but not a twin we can read: {error}", Exit.INPUT) from None
    entry = str(verified.header.get("ledger", "not stated"))
    return Checked(twin, verified.kid, entry, keys.life(verified.kid))


def _check_package(data: bytes, keys: VerificationKeys) -> Checked:
    try:
        package = open_package(data, keys)
    except PortableError as error:
        raise CommandError(f"not verified: {error}", Exit.NOT_VERIFIED) from None
    twin = check_bytes(package.twin_file, keys)
    return replace(twin, parts=len(package.parts))


def _opened(data: bytes) -> tuple[bytes, str]:
    try:
        payload, proof = open_envelope(data)
    except PrivacyError as error:
        raise CommandError(f"not verified: {error}", Exit.NOT_VERIFIED) from None
    return payload, proof["jws"]
