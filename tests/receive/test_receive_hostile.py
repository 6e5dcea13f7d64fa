"""Hostile packages by rule: each is refused in one clear sentence, in bounded memory."""

import io
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from receive_hostile import hostile
from receive_places import ME, Place, place

from privacy.signing import SigningKey, jwks
from service.receive.errors import ReceiveError

MEMORY = 1 << 30


@pytest.mark.slow
def test_every_hostile_package_is_refused_in_one_sentence_and_bounded_memory(
    a: Place, tmp_path: Path
) -> None:
    """In a process of its own, whose memory the system bounds."""
    (tmp_path / "genuine.sphr").write_bytes(a.package(a.twin()))
    (tmp_path / "keys.json").write_text(json.dumps(a.runtime.jwks()))
    command = [sys.executable, __file__, str(tmp_path)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(said) >= 200
    for name, sentence in said:
        assert sentence, f"{name}: taken"
        assert len(sentence) < 220, name
        assert "\n" not in sentence
        assert "Zorkmidt" not in sentence


def refused(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    bad, here = SigningKey.generate(), place(folder / "home")
    keys = json.loads((folder / "keys.json").read_bytes())
    here.desk.trust.add("clinic-a", keys, [key["kid"] for key in keys["keys"]])
    here.desk.trust.add("gone-bad", jwks([bad.public_jwk()]), [bad.kid])
    with zipfile.ZipFile(io.BytesIO((folder / "genuine.sphr").read_bytes())) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    for name, data in hostile(parts, bad):
        try:
            here.desk.receive(data, *ME)
            sentence = ""
        except ReceiveError as error:
            sentence = str(error)
        print(json.dumps([name, sentence]))  # noqa: T201 - read by the test
    assert here.desk.held() == []
    here.desk.receive((folder / "genuine.sphr").read_bytes(), *ME)
    here.runtime.close()


if __name__ == "__main__":
    refused(Path(sys.argv[1]))
