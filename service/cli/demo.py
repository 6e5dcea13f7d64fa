"""`twinport demo`: the main job, end to end, on this machine and nothing else.

The sandbox and the real service (under gunicorn, as in production) run on free ports of this
machine, with keys and database in a folder of their own that is removed at the end. What is shown
is what the JSON API answers; nothing is staged.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import requests

from service.auth import Role
from service.cli.exits import CommandError, Exit
from service.cli.keys import issue_key, sign_in_code
from service.cli.output import Bar, progress
from service.cli.summary import answers
from service.cli.verify import check_bytes
from service.config import load_config
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox import DEMO_PATIENTS, PatientBundle, background, generate
from twin_engine.models.assess import recompute

Json = dict[str, Any]

STAGES = ("pull", "de-identify", "map", "build", "predict", "gate", "sign", "write-back")
# The two that every record here can speak to; `twinport models list` has the others.
MODELS = ("prevent", "ckd-epi-2021")
PAGES = {Role.EHR: "/clinic", Role.PATIENT: "/me", Role.PRIVACY_OFFICER: "/privacy"}
START_SECONDS = 60
RUN_SECONDS = 120


@click.command("demo")
@click.option("--stay", is_flag=True, help="Keep everything running, to look around in a browser.")
@click.option("--port", type=int, default=0, help="Port of the service.  [default: a free one]")
def command(stay: bool, port: int) -> None:
    """Three synthetic patients, from a FHIR server to written-back RiskAssessments, twice.

    Needs no configuration and leaves nothing behind. With --stay the pages can be opened; the
    one-time sign-in codes are printed at the end.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must leave nothing either
        signal.signal(number, _end)
    home = Path(tempfile.mkdtemp(prefix="twinport-demo-"))
    try:
        with background() as sandbox, _service(home, sandbox, port) as demo:
            _show(demo, stay)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def _show(demo: "_Demo", stay: bool) -> None:
    people = {person.id: person for person in generate(date.today()) if person.id in DEMO_PATIENTS}
    click.echo(f"FHIR sandbox  {demo.sandbox}   {_count(demo.sandbox, 'Patient')} made-up patients")
    click.echo(f"Twinport      {demo.base}\n")
    twins = [demo.first_run(people[patient]) for patient in DEMO_PATIENTS]
    demo.second_run()
    demo.prove(twins[0])
    demo.where_to_look(twins[0], stay)
    if stay:
        _wait()


# -- the service -------------------------------------------------------------------------------


@contextmanager
def _service(home: Path, sandbox: str, port: int) -> Iterator["_Demo"]:
    chosen = port or _free_port()
    environment = _environment(home, sandbox, chosen)
    config = load_config(environment)
    runtime = open_runtime(config)
    log = (home / "service.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", "from service.cli import main; main(['serve'])"],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        base = f"http://127.0.0.1:{chosen}"
        _until_ready(base, process)
        yield _Demo(base, sandbox, runtime, issue_key(runtime, Role.EHR, "demo"))
    finally:
        _stop(process)
        runtime.close()
        log.close()


def _environment(home: Path, sandbox: str, port: int) -> dict[str, str]:
    """The operator's own settings stay out of the demo."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TWINPORT_")}
    return kept | {
        "TWINPORT_HOME": str(home),
        "TWINPORT_SERVERS__SANDBOX__BASE_URL": sandbox,
        "TWINPORT_SERVERS__SANDBOX__DICOMWEB__ENABLED": "true",
        "TWINPORT_WEB__PORT": str(port),
        "TWINPORT_WEB__SIGN_IN_CODE_MINUTES": "720",
        "TWINPORT_PROJECT__NAME": "demo",
    }


def _until_ready(base: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(requests.ConnectionError, requests.Timeout):
            if requests.get(f"{base}/readyz", timeout=5).ok:
                return
        time.sleep(0.1)
    raise CommandError("the service did not come up; try `twinport serve` to see why", Exit.SETUP)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- what is shown -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Demo:
    base: str
    sandbox: str
    runtime: Runtime
    key: str

    def first_run(self, person: PatientBundle) -> str:
        click.secho(f"{person.id}  {person.shows}", bold=True)
        run = self._run(person.id)
        twin = str(run["twin"])
        document = self._get(f"/api/v1/twins/{twin}")["twin"]
        for line in _lines(run, document):
            click.echo(f"  {line}")
        click.echo("")
        return twin

    def second_run(self) -> None:
        before = self._held()
        for patient in DEMO_PATIENTS:
            self._run(patient)
        after = self._held()
        same = "nothing was written twice" if before == after else "THE SERVER CHANGED"
        click.secho("The same three again", bold=True)
        click.echo(f"  on the server before  {_listed(before)}")
        click.echo(f"  on the server after   {_listed(after)}: {same}\n")
        if before != after:
            raise CommandError("the second run changed the server", Exit.WRITE_BACK)

    def prove(self, twin: str) -> None:
        """What anybody can do with an exported twin, without us."""
        data = self._raw(f"/api/v1/twins/{twin}")
        checked = check_bytes(data, self.runtime.verification_keys())
        outcomes = {one.outcome for one in recompute(checked.twin.document)}
        click.secho("Anybody who holds a twin can check it", bold=True)
        click.echo(
            f"  signature  Ed25519, key {checked.kid[:12]}..., over {len(data):,} bytes: good"
        )
        agreed = "the same to the last digit" if outcomes == {"same"} else "DIFFERENT"
        click.echo(f"  models     run again on the exported file: {agreed}\n")

    def where_to_look(self, twin: str, stay: bool) -> None:
        click.secho("Look around in a browser", bold=True)
        click.echo(f"  {self.base}/sign-in   one code opens one session:")
        for role, bound in ((Role.EHR, None), (Role.PATIENT, twin), (Role.PRIVACY_OFFICER, None)):
            # Only a clinician who is known by a code of their own can decide on a result.
            person = "clinician-1" if role is Role.EHR else None
            code = sign_in_code(self.runtime, role, bound, person)
            click.echo(f"    {role.value:<16} {code}   then {self.base}{PAGES[role]}")
        click.echo(f"  {self.base}/docs      the API; FHIR façade at {self.base}/fhir/metadata")
        if stay:
            click.echo("\nCtrl-C ends the demo and removes everything.")
        else:
            click.echo("\nThe demo ends here and takes all of this along.")
            click.echo("make demo ARGS=--stay keeps it running, with codes of its own.")

    # -- calls ---------------------------------------------------------------------------------

    def _run(self, patient: str) -> Json:
        body = {"server": "sandbox", "patient": patient, "models": list(MODELS)}
        run = self._call("POST", "/api/v1/runs", body, {"Prefer": "respond-async"})
        with progress("running", len(STAGES)) as bar:
            run = self._followed(run, bar)
        if run["state"] != "done":
            code = (run.get("failure") or {}).get("code", run["state"])
            raise CommandError(f"the demo's run ended as {code}", Exit.INTERNAL)
        return run

    def _followed(self, run: Json, bar: Bar) -> Json:
        end = time.monotonic() + RUN_SECONDS
        while run["state"] in {"queued", "running"} and time.monotonic() < end:
            time.sleep(0.05)
            run = self._get(f"/api/v1/runs/{run['id']}")
            stage = run.get("stage")
            if stage in STAGES:
                bar.update_to(STAGES.index(stage) + 1)
        return run

    def _held(self) -> dict[str, int]:
        kinds = ("RiskAssessment", "Observation", "Device", "Provenance")
        return {kind: _count(self.sandbox, kind) for kind in kinds}

    def _get(self, path: str) -> Any:
        return self._call("GET", path)

    def _call(
        self, method: str, path: str, body: Json | None = None, extra: Mapping[str, str] = {}
    ) -> Any:
        return self._response(method, path, body, extra).json()

    def _raw(self, path: str) -> bytes:
        return self._response("GET", path, None, {}).content

    def _response(
        self, method: str, path: str, body: Json | None, extra: Mapping[str, str]
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}", **extra}
        answer = requests.request(
            method, f"{self.base}{path}", json=body, headers=headers, timeout=RUN_SECONDS
        )
        if not answer.ok:
            raise CommandError(f"the demo's service answered {answer.status_code}", Exit.INTERNAL)
        return answer


def _lines(run: Json, document: Json) -> Iterator[str]:
    counts = run["counts"]
    slices = document["completeness"]["slices"]
    whole = sum(part["verdict"] == "complete" for part in slices)
    yield f"pulled     {counts['pulled']:,} resources; {whole} of {len(slices)} types completely"
    yield (
        f"kept       {counts['kept']:,} values; dropped {counts['dropped']:,} "
        f"(names, texts, identifiers, dates); {counts['refused']} resources refused"
    )
    yield (
        f"twin       {run['twin']}  version {run['twinVersion']}, "
        f"{counts['readings']:,} readings, {counts['set-aside']} set aside"
    )
    yield from _imaging(document["imaging"])
    for item in document["assessments"]:
        yield from answers(item)
    there = counts["existing"]
    yield f"written    {counts['written']} resources on the server; there already: {there}"


def _imaging(studies: Sequence[Json]) -> Iterator[str]:
    series = [one for study in studies for one in study.get("series", ())]
    told = sum(len(one.get("parameters", ())) for one in series)
    read = sum(one.get("read", 0) for one in series)
    if told:
        yield (
            f"imaging    {told} acquisition parameters out of the DICOM metadata of {read} images; "
            f"studies: {len(studies)}"
        )


def _count(base: str, kind: str) -> int:
    answer = requests.get(f"{base}/{kind}", params={"_count": "1"}, timeout=30)
    return int(answer.json().get("total", 0))


def _listed(held: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in held.items())


def _wait() -> None:
    with suppress(KeyboardInterrupt):
        signal.pause()
