"""A FHIR server that nobody here wrote: Medplum's router from npm, or the one that
`TWINPORT_INTEROP_BASE` names (a test server: patients and results are left behind there)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from interop_npm import installed

from service.fhir.http import FhirClient
from service.fhir.servers import from_url


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
