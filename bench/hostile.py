"""`python -m bench.hostile`: how long each hostile package of the tests takes to be refused, in
processor time of this machine, and the most memory that the process held. Fails if one is taken."""

import io
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import click

from privacy.signing import SigningKey, jwks
from service.receive.errors import ReceiveError

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "receive")]


def main() -> None:
    from receive_hostile import hostile
    from receive_places import ME, place

    with tempfile.TemporaryDirectory() as folder:
        issuer, here = place(Path(folder) / "issuer"), place(Path(folder) / "here")
        bad = SigningKey.generate()
        here.trust("clinic-a", issuer)
        here.desk.trust.add("gone-bad", jwks([bad.public_jwk()]), [bad.kid])
        parts = _parts(issuer.package(issuer.twin()))
        spent = {}
        for name, data in hostile(parts, bad):
            began = time.process_time()
            try:
                here.desk.receive(data, *ME)
            except ReceiveError:
                spent[name] = time.process_time() - began
            else:
                sys.exit(f"{name}: taken")
        issuer.runtime.close()
        here.runtime.close()
    _tell(spent)


def _parts(package: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _tell(spent: Mapping[str, float]) -> None:
    slowest = sorted(spent.items(), key=lambda row: -row[1])
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    click.echo(f"{len(spent)} refused; {sum(spent.values()):.2f} s in all; at most {held} MB held")
    for name, seconds in slowest[:5]:
        click.echo(f"  {seconds * 1000:7.1f} ms  {name}")


if __name__ == "__main__":
    main()
