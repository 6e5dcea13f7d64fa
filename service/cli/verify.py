"""`twinport verify`: is this twin what its issuer signed? Offline; nothing in it is trusted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from privacy.errors import PrivacyError
from privacy.signing import VerificationKeys, open_envelope, verify
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.portable.errors import PortableError
from service.portable.sphr import is_package, open_package
from twin_engine.document import DocumentError, Twin, read


@dataclass(frozen=True)
class Checked:
    twin: Twin
    kid: str
    ledger: str
    parts: int = 0
    """Of a package: how many files in it are what its issuer listed."""

    def as_dict(self) -> dict[str, Any]:
        head = self.twin.document["twin"]
        return {
            "verified": True,
            "twin": self.twin.id,
            "version": self.twin.version,
            "digest": self.twin.digest,
            "policy": head["policy"]["id"],
            "signedBy": self.kid,
            "ledger": self.ledger,
            "assessments": len(self.twin.assessments),
            **({"parts": self.parts} if self.parts else {}),
        }


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(file: Path, keys: Path | None, as_json: bool) -> None:
    """Check signature, digest and schema of a twin file. Exit code 7 when anything disagrees.

    The signature covers the document byte by byte: re-formatting the file breaks it. Of a package
    (.sphr) each part is checked, and that the ledger inside tells how the twin was made.
    """
    checked = check_file(file, trusted_keys(keys))
    if as_json:
        emit(checked.as_dict())
        return
    found = checked.as_dict()
    click.echo(f"verified  twin {found['twin']} version {found['version']}")
    for name in ("digest", "policy", "signedBy", "ledger", "assessments", "parts"):
        if name in found:
            click.echo(f"  {name:<11} {found[name]}")


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
    return Checked(twin, verified.kid, str(verified.header.get("ledger", "not stated")))


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
