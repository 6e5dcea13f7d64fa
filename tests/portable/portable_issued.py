"""One home with a twin in it, and that twin as a package."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from support.shell import Shell

from privacy.signing import VerificationKeys
from service.sandbox.population import generate


@dataclass(frozen=True)
class Issued:
    shell: Shell
    twin: str
    package: Path
    keys: Path

    def trusted(self) -> VerificationKeys:
        return VerificationKeys(orjson.loads(self.keys.read_bytes()))


def issue(shell: Shell, folder: Path) -> Issued:
    person = generate(date(2026, 6, 1))[0]
    source = folder / "source.json"
    source.write_bytes(orjson.dumps(person.bundle()))
    assert shell("run", "--bundle", source, "--out", folder / "run", "--json").code == 0
    twin = orjson.loads((folder / "run" / "twin.json").read_bytes())["twin"]["twin"]["id"]
    made = shell("export", "--twin", twin, "--to", "sphr", "--out", folder / "out")
    assert made.code == 0, made.err
    return Issued(shell, twin, folder / "out" / "record.sphr", folder / "run" / "keys.json")
