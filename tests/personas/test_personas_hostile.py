"""A hostile server: no hang, no growth, no token elsewhere, no value in a log or error; and a twin
that says what is missing, or none."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from personas_loop import Loop, at, person, serving
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from privacy.signing import open_envelope
from service.config.sections import ServerAuth
from service.fhir.errors import FhirError, SignInRefused
from service.fhir.record import PatientRecord, SafetyEvent
from service.fhir.servers import ServerConfig
from service.pipeline.runtime import Runtime
from service.sandbox.personas.hostile import Hostile, ways
from service.sandbox.testing import RunningSandbox
from twin_engine.document import clinical_digest, read

PATIENT = "demo-001"
SECRET = "a-very-secret-token"

# way -> what the Observations are said to be, and why. Where the search fails as a whole, those
# that reports point to were still read one by one: partial.
SAID = {
    "circle": ("partial", "link-loop"),
    "endless": ("partial", "link-loop"),
    "foreign-next": ("partial", "foreign-origin"),
    "foreign-redirect": ("partial", "foreign-origin"),
    "error-with-200": ("partial", "outcome-instead"),
    "slow-loris": ("unknown", "budget-spent"),
    "cut-off": ("partial", "not-fhir"),
    "gzip-bomb": ("partial", "too-large"),
    "storm": ("partial", "server-failed"),
    "token-runs-out": ("complete", None),
    "wrong-patient": ("partial", "foreign-subject"),
    "two-versions": ("complete", None),
    "tiny-pages": ("partial", "too-many"),
    "retry-after-words": ("complete", None),
    "retry-after-number": ("complete", None),
    "retry-after-date": ("complete", None),
    "tomorrow": ("partial", "budget-spent"),
    "short-body": ("partial", "connection-lost"),
    "odd-headers": ("complete", None),
    "huge-header": ("partial", "connection-lost"),
}
NO_TWIN = {"token-dies"}


def test_every_way_has_a_case() -> None:
    assert set(ways()) == SAID.keys() | NO_TWIN


def impatient(server: ServerConfig, **changes: Any) -> ServerConfig:
    """Small bounds, so that running into them takes little time."""
    limits = replace(
        server.limits,
        **({"read_seconds": 1, "budget_seconds": 30, "tries": 2} | changes),
        body_bytes=2_000_000,
        pages=60,
    )
    return replace(server, limits=limits, page_size=50)


class Elsewhere:
    """Another origin, which remembers what it was sent."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    def app(self, environ: dict[str, Any], start: Any) -> Any:
        self.headers.append(dict(Request(environ).headers))
        return Response("{}", content_type="application/json")(environ, start)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def elsewhere() -> Iterator[tuple[Elsewhere, str]]:
    heard = Elsewhere()
    server = make_server("127.0.0.1", 0, heard.app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield heard, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed_in(sandbox: RunningSandbox, way: str, folder: Path) -> ServerConfig:
    if way != "token-runs-out":
        return at(sandbox, auth=ServerAuth(kind="bearer", token=SECRET))
    key = folder / "key.json"
    key.write_text(json.dumps(ECKey.generate_key("P-384").as_dict(private=True)))
    auth = ServerAuth(kind="smart-backend", client_id="client", key_file=str(key))
    server = at(sandbox, auth=auth)
    # One request at a time: a token good for a handful must not be used up by other threads
    # between the renewal of a request's token and its one repetition.
    return replace(server, limits=replace(server.limits, concurrency=1))


def observations(record: PatientRecord) -> tuple[str, str | None]:
    row = next(s for s in record.completeness["slices"] if s["type"] == "Observation")
    return row["verdict"], row.get("reason")


def identifying() -> set[str]:
    """What would give the patient away: names, identifiers, dates."""
    patient = next(r for r in person(PATIENT).resources if r["resourceType"] == "Patient")
    name = patient["name"][0]
    return {name["family"], *name["given"], patient["birthDate"], PATIENT, SECRET} | {
        i["value"] for i in patient["identifier"]
    }


@pytest.mark.parametrize("way", SAID)
def test_the_twin_says_what_is_missing(
    runtime: Runtime, way: str, tmp_path: Path, debug_log: io.StringIO
) -> None:
    with elsewhere() as (heard, foreign):
        hostile = Hostile(way, elsewhere=foreign, pages=100_000)
        with serving(person(PATIENT), hostile) as sandbox:
            budget = {"budget_seconds": 3} if way == "slow-loris" else {}
            server = impatient(signed_in(sandbox, way, tmp_path), **budget)
            loop = Loop(runtime, server, set())
            record = loop.pull(PATIENT)
        assert heard.headers == []
    assert observations(record) == SAID[way]
    others = {s["type"]: s["verdict"] for s in record.completeness["slices"]}
    assert others["Condition"] == "complete" or way == "slow-loris"
    document = loop.make(record).twin.document
    told = {s["type"]: s["verdict"] for s in document["completeness"]["slices"]}
    assert told["Observation"] == SAID[way][0]
    logged = debug_log.getvalue()
    assert "urllib3" in logged  # everything is logged, the HTTP client's own lines too
    assert not [word for word in identifying() if word in logged]


@pytest.mark.parametrize("way", ["token-runs-out", "two-versions"])
def test_where_nothing_is_lost_the_twin_is_the_same(
    runtime: Runtime, way: str, tmp_path: Path
) -> None:
    with serving(person(PATIENT), Hostile(way)) as sandbox:
        loop = Loop(runtime, impatient(signed_in(sandbox, way, tmp_path)), set())
        hostile = loop.make(loop.pull(PATIENT)).twin
    with serving(person(PATIENT)) as sandbox:
        loop = Loop(runtime, at(sandbox), set())
        plain = loop.make(loop.pull(PATIENT)).twin
    assert clinical_digest(hostile.document) == clinical_digest(plain.document)


def test_another_persons_page_is_a_safety_event(runtime: Runtime) -> None:
    with serving(person(PATIENT), Hostile("wrong-patient")) as sandbox:
        record = Loop(runtime, impatient(at(sandbox)), set()).pull(PATIENT)
    (event,) = record.safety
    assert (event.kind, event.type) == ("foreign-subject", "Observation")
    assert isinstance(event, SafetyEvent)
    owners = {r["subject"]["reference"] for r in record.resources if "subject" in r}
    assert owners == {f"Patient/{PATIENT}"}


def test_a_withdrawn_token_is_named_and_nothing_is_called_complete(
    runtime: Runtime, tmp_path: Path
) -> None:
    """Whatever had been read by then; where it was not even the patient, there is no record."""
    with serving(person(PATIENT), Hostile("token-dies")) as sandbox:
        loop = Loop(runtime, impatient(signed_in(sandbox, "token-dies", tmp_path)), set())
        record = loop.pull(PATIENT)
        refused = [s for s in record.completeness["slices"] if s["verdict"] != "complete"]
        assert {s["reason"] for s in refused} <= {"sign-in-refused", "not-supported"}
        assert len(refused) > 5
        with pytest.raises(SignInRefused) as caught:
            loop.pull(PATIENT)
    assert not [word for word in identifying() if word in str(caught.value)]


@pytest.mark.parametrize("way", ways())
def test_an_error_names_no_value(runtime: Runtime, way: str, tmp_path: Path) -> None:
    """The patient asked for does not exist: the pull ends in an error, whatever the way."""
    with serving(person(PATIENT), Hostile(way, elsewhere="http://127.0.0.1:9")) as sandbox:
        loop = Loop(runtime, impatient(signed_in(sandbox, way, tmp_path)), set())
        with pytest.raises(FhirError) as caught:
            loop.pull("nobody-of-this-name")
    assert "nobody-of-this-name" not in str(caught.value)
    assert caught.value.__cause__ is None


# -- how much memory -------------------------------------------------------------------------------

# Not getrusage: it also counts what the process was before it became this program.
PEAK = r"""
import atexit, re

@atexit.register
def peak():
    print(int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]) // 1024)

"""
PULL = """
import sys
from dataclasses import replace
from service.fhir.http import FhirClient
from service.fhir.pull import pull_patient
from service.fhir.servers import from_url

server = from_url(sys.argv[1])
pages, size = int(sys.argv[2]), int(sys.argv[3])
limits = replace(server.limits, pages=pages, budget_seconds=3600)
with FhirClient(replace(server, limits=limits, page_size=size)) as client:
    record = pull_patient(client, "demo-001", ["Observation"])
row = record.completeness["slices"][1]
print(row["matches"], row["verdict"])
"""
RUN = """
import sys
from service.cli import main

main(["run", "--server", "hostile", "--patient", "demo-001", "--out", sys.argv[1], "--json"])
"""


def peak_of(program: str, *arguments: str, **environment: str) -> tuple[list[str], int]:
    """What a process of its own prints, and its peak in megabytes."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + program, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    *printed, peak = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    return printed, int(peak)


@pytest.mark.parametrize(
    ("pages", "per_page"), [(300, 1), pytest.param(2_500, 1, marks=pytest.mark.slow)]
)
def test_a_pull_of_tiny_pages_stays_small(pages: int, per_page: int) -> None:
    with serving(person(PATIENT), Hostile("tiny-pages", pages=pages, per_page=per_page)) as sandbox:
        (said,), peak = peak_of(PULL, sandbox.base_url, str(pages), str(per_page))
    assert said == f"{pages * per_page} complete"
    assert peak < 300


@pytest.mark.slow
def test_a_whole_run_of_a_hundred_thousand_observations_stays_small(
    tmp_path: Path,
) -> None:
    """From the server to the signed twin with its assessments on disk, by the command."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with serving(person(PATIENT), Hostile("tiny-pages", pages=100, per_page=1000)) as sandbox:
        server = f'base_url = "{sandbox.base_url}"\nwrite_back = false\npage_size = 1000\n'
        (home / "twinport.toml").write_text(f"[servers.hostile]\n{server}")
        _, peak = peak_of(RUN, str(tmp_path / "out"), TWINPORT_HOME=str(home))
    document = read(open_envelope((tmp_path / "out" / "twin.json").read_bytes())[0]).document
    row = next(s for s in document["completeness"]["slices"] if s["type"] == "Observation")
    assert row["matches"] >= 100_000  # those, and what reports point to
    assert row["verdict"] == "complete"
    assert len(document["signals"]["heart-rate"]["t"]) > 90_000
    assert peak < 290  # the aim is 300; 262 to 273 were measured, and machines differ a little
