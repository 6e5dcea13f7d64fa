"""Trap 16 (see `tests/mappings/test_mappings_traps.py`): demographics do not make a person."""

from pathlib import Path

import orjson
from cli_records import Home, record
from support.shell import Shell


def test_two_people_who_share_everything_but_their_id_are_two_twins(
    twinport: Shell, home: Home, tmp_path: Path
) -> None:
    """Name, sex, birthday and every value alike: the id of the source decides, nothing else."""
    names = []
    for patient in ("p1", "p7"):
        renamed = orjson.dumps(record()).replace(b'"p1"', f'"{patient}"'.encode())
        renamed = renamed.replace(b"Patient/p1", f"Patient/{patient}".encode())
        entries = [{"resource": resource} for resource in orjson.loads(renamed)]
        path = tmp_path / f"{patient}.json"
        path.write_bytes(
            orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
        )
        names.append(twinport("run", "--bundle", path, "--json").json["twin"])
    assert len(set(names)) == 2
