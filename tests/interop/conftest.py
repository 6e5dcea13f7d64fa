"""A FHIR server that nobody here wrote: Medplum's router from npm, or the one that
`TWINPORT_INTEROP_BASE` names (a test server: patients and results are left behind there)."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import npm

from service.fhir.http import FhirClient
from service.fhir.servers import from_url

HERE = Path(__file__).parent
FILES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "server.mjs",
    "validate.mjs",
    "receive.mjs",
    "give.mjs",
    "verify.mjs",
)


def installed() -> Path:
    """The packages, installed once for each content of the lock file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinport-interop"
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES[:3])).hexdigest()
    folder = cache / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        fresh = folder / f".{os.getpid()}-{name}"
        shutil.copyfile(HERE / name, fresh)
        fresh.replace(folder / name)  # never half a script, whoever else runs it
    npm.install(folder, (folder / "node_modules" / ".package-lock.json").exists)
    return folder


@pytest.fixture
def client(foreign_base: str) -> Iterator[FhirClient]:
    """Patient: a server with a real database takes its time over a whole record at once."""
    server = from_url(foreign_base)
    with FhirClient(replace(server, limits=replace(server.limits, read_seconds=180))) as made:
        yield made


@pytest.fixture(scope="module")
def foreign_base() -> Iterator[str]:
    """Each module its own: what one leaves in a chart is not there for another."""
    given = os.environ.get("TWINPORT_INTEROP_BASE")
    if given:
        yield given
        return
    folder = installed()
    node = shutil.which("node")
    assert node, "The interop tests need Node 20 or newer."
    with subprocess.Popen(
        [node, "server.mjs"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        assert base.startswith("http://127.0.0.1:"), "the foreign server did not start"
        yield base
        process.terminate()
