"""A package is opened by `unzip` and verified by `jose`: tools that nobody here wrote."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from interop_npm import installed
from support.issuer import home

from service.pipeline.package import package

pytestmark = pytest.mark.interop


def verified(folder: Path, keys: Path) -> Any:
    node = shutil.which("node")
    assert node
    command = [node, "verify.mjs", str(folder), str(keys)]
    ran = subprocess.run(command, cwd=installed(), capture_output=True, check=True, timeout=600)
    return orjson.loads(ran.stdout)


def test_a_package_is_opened_and_verified_by_ordinary_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    made = home()
    (tmp_path / "record.sphr").write_bytes(package(made.runtime, made.twin) or b"")
    (tmp_path / "keys.json").write_bytes(orjson.dumps(made.runtime.jwks()))
    made.runtime.close()
    unzip = shutil.which("unzip")
    assert unzip, "apt-get install unzip"
    command = [unzip, "-q", "record.sphr", "-d", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=600)
    folder = tmp_path / "out"
    found = verified(folder, tmp_path / "keys.json")
    assert found == {"kid": made.runtime.signer.kid, "typ": "twinport-sphr+jws"}
    listed = orjson.loads((folder / "manifest.json").read_bytes())["parts"]
    for row in listed:
        content = (folder / row["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
    changed = (folder / "manifest.json").read_bytes().replace(b"ips.json", b"ips.jsom")
    (folder / "manifest.json").write_bytes(changed)
    refused = verified(folder, tmp_path / "keys.json")
    assert refused == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
