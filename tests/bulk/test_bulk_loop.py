"""From kick-off to twins, through the command line, against real servers."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from bulk_scene import Exporting, bulk, configure, exporting, record, report, slices, twins
from support.shell import Shell

from privacy import layouts
from service.bulk import job
from service.bulk.records import Records
from service.cli.exits import Exit
from service.sandbox.persona import Settings
from service.sandbox.personas import PERSONAS
from service.stores import open_database
from service.stores.bulk import BulkStore

READ = ("Condition", "Medication", "MedicationRequest", "Observation", "Patient", "Procedure")
NOT_IN_SANDBOX = {"MedicationStatement": "not-supported"}


@pytest.mark.slow
def test_an_export_gives_the_twins_that_pulling_gives(shell: Shell, tmp_path: Path) -> None:
    """Same facts, same answers, same completeness: nothing new to write down."""
    with exporting(ids=("demo-005", "demo-008")) as sandbox:
        configure(shell.home, sandbox, empty_means_none=True)
        for patient in ("demo-005", "demo-008"):
            assert shell("run", "--server", "main", "--patient", patient, "--dry-run").code == 0
        found = report(shell, "run", "main", "--out", tmp_path / "out")
    assert found["patients"] == {"unchanged": 2}
    assert found["complete"] is True
    assert found["missing"] == NOT_IN_SANDBOX


def test_a_type_without_any_file_proves_no_absence(shell: Shell, tmp_path: Path) -> None:
    """Empty, or not exported without a word: nobody knows. Where others have it, it is known."""
    with exporting() as sandbox:
        sandbox.store.delete("Condition", "c-p2")
        configure(shell.home, sandbox)
        found = report(shell, "run", "main", "--out", tmp_path / "out")
    assert found["lines"]["Condition"] == 1
    assert found["missing"]["FamilyMemberHistory"] == "not-in-file"
    verdicts = [slices(twin)["Condition"]["verdict"] for twin in twins(tmp_path / "out")]
    assert verdicts == ["complete", "complete"]


def test_every_patient_gets_a_twin_and_the_files_say_how(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main", "--out", out)
        assert sandbox.count("RiskAssessment") == 0  # nothing is written unless asked for
    assert (ran.code, ran.out.count("new 2")) == (0, 1)
    first, second = twins(out)
    assert first["completeness"]["basis"] == second["completeness"]["basis"] == "bulk"
    assert slices(first)["Observation"]["verdict"] == "complete"
    assert slices(first)["MedicationStatement"]["reason"] == "not-supported"
    assert slices(first)["Observation"]["asked"] == ["Group/{id}/$export?_type"]
    assert "asked" not in slices(first)["MedicationStatement"]
    assert first["medications"]
    names = {path.name for path in out.iterdir() if path.is_file()}
    assert names == {"report.json", "quarantine.jsonl", "ledger.jsonl", "keys.json"}
    assert orjson.loads((out / "report.json").read_bytes())["patients"] == {"new": 2}
    verified = shell("verify", next(out.glob("*/twin.json")), "--keys", out / "keys.json")
    assert verified.code == 0, verified.err
    assert not list((shell.home / "spool").iterdir())


def test_few_lines_of_an_export_are_parsed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of what was read before, none; all where Twinport was installed without a compiler."""
    read: list[Records] = []

    class Watched(Records):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            read.append(self)

    monkeypatch.setattr(job, "Records", Watched)
    with exporting(ids=("p1", "p2", "p3", "p4")) as sandbox:
        configure(shell.home, sandbox)
        for run in range(2):
            report(shell, "run", "main", "--out", tmp_path / str(run))
    lines = sum(len(record(f"p{n}")) for n in (1, 2, 3, 4))
    first, second = (one.parsed for one in read)
    if layouts._apart is None:
        assert first == second == lines
    else:
        assert first < lines
        assert second <= 8  # each Patient, and each order: it has no form


@pytest.mark.slow
def test_results_are_written_back_where_that_is_wished(shell: Shell) -> None:
    with exporting(ids=("demo-008",)) as sandbox:
        configure(shell.home, sandbox, empty_means_none=True)
        for _ in range(2):
            assert report(shell, "run", "main", "--write-back")["complete"] is True
            assert sandbox.count("RiskAssessment") == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--system",), ("--patients",), ("--type", "Observation")])
def test_other_levels_and_types(shell: Shell, options: tuple[str, ...]) -> None:
    with exporting() as sandbox:
        configure(shell.home, sandbox)
        found = report(shell, "run", "main", *options)
        assert found["patients"] == {"new": 2}
        kinds = set(found["lines"])
    if options[0] == "--type":
        assert kinds == {"Observation", "Patient"}
        assert found["missing"]["Condition"] == "not-asked"
    else:
        assert kinds == set(READ)


DIALECTS = [
    ("auto", {"guide": "4.0.0"}, "POST"),
    ("get", {"repeated_types": False}, "GET"),
    pytest.param("auto", {"guide": "3.0.0"}, "GET", marks=pytest.mark.slow),
    pytest.param("auto", {"methods": ("POST",)}, "POST", marks=pytest.mark.slow),
    pytest.param("post", {}, "POST", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("dialect", "manners", "method"), DIALECTS)
def test_the_dialect_is_the_servers(
    shell: Shell, dialect: str, manners: dict[str, Any], method: str
) -> None:
    with exporting(Exporting(**manners), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox, dialect=dialect)
        assert report(shell)["complete"] is True
        asked = [r for r in sandbox.requests if r.route == "export-group"]
    assert asked[-1].method == method
    assert asked[-1].status == 202


def test_the_form_it_took_is_asked_for_first_the_next_time(shell: Shell) -> None:
    """Refused once, and not again; what the server's list says of it is one word of ours."""
    with exporting(Exporting(methods=("POST",)), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        for methods in (["GET", "POST"], ["POST"]):
            before = len(sandbox.requests)
            assert report(shell)["complete"] is True
            asked = [r for r in sandbox.requests[before:] if r.route == "export-group"]
            assert [r.method for r in asked] == methods
    assert "learned: it takes orders for an export by POST" in shell("server", "list").out


def test_tiny_files_and_paged_manifests(shell: Shell) -> None:
    manners = Exporting(lines_per_file=1, files_per_manifest=3)
    with exporting(manners, ids=("p1",)) as sandbox:
        configure(shell.home, sandbox, partial_manifests=True)
        found = report(shell)
    assert found["files"]["done"] == sum(found["lines"].values()) + sum(found["notRead"].values())
    assert found["files"]["done"] > 7


# -- tokens and hosts ------------------------------------------------------------------------------

AUTH = {"kind": "bearer", "token": "right"}
STORED = {"token_for_files": False}
REDIRECTED = {"redirect": True}


@pytest.mark.parametrize("manners", [{}, STORED, REDIRECTED], ids=["own", "stored", "redirected"])
def test_a_token_goes_to_the_server_and_to_nobody_else(
    shell: Shell, manners: dict[str, Any]
) -> None:
    """The other host refuses every file that is asked for with a token."""
    settings = Settings(bearer_token="right")
    with exporting(Exporting(**manners), ids=("p1",), settings=settings) as sandbox:
        other = sandbox.base_url.replace("127.0.0.1", "localhost").removesuffix("/fhir")
        configure(shell.home, sandbox, auth=AUTH, file_origins=[other])
        assert report(shell)["complete"] is True
        statuses = {r.status for r in sandbox.requests if r.route == "export-signed"}
        assert statuses == ({200} if manners else set())


def test_a_host_nobody_named_gets_no_request(shell: Shell) -> None:
    with exporting(Exporting(**STORED), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main")
        assert not [r for r in sandbox.requests if r.route == "export-signed"]
    assert ran.code == Exit.PARTIAL
    assert "http://localhost:" in ran.out
    assert "bulk.file_origins" in ran.out


def test_links_that_expire_are_asked_for_anew(shell: Shell) -> None:
    class Short(Exporting):
        """Forgets its links when the manifest was read for the first time."""

        once = True

        def respond(self, response: Any) -> Any:
            from flask import current_app, request

            if request.endpoint == "export-signed" and Short.once:
                Short.once = False
                current_app.extensions["sandbox"].exports.expire_links()
                response.status_code = 403
            return response

    with exporting(Short(**STORED), ids=("p1",)) as sandbox:
        other = sandbox.base_url.replace("127.0.0.1", "localhost").removesuffix("/fhir")
        configure(shell.home, sandbox, file_origins=[other])
        assert report(shell)["complete"] is True


# -- vendors ---------------------------------------------------------------------------------------

WHOLE = ("epic", "hapi", "medplum", "oracle")


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_vendors_whose_exports_can_be_read(shell: Shell, name: str) -> None:
    with exporting(PERSONAS[name](), ids=("p1",)) as sandbox:
        host = sandbox.base_url.split("/")[2].replace("127.0.0.1", "localhost")
        configure(shell.home, sandbox, file_origins=[f"http://{host}"])
        found = report(shell)
        assert not sandbox.inside.exports.jobs  # the place was freed
    assert (found["patients"], found["complete"]) == ({"new": 1}, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["azure", "healthlake"])
def test_vendors_that_export_into_storage_of_their_own(shell: Shell, name: str) -> None:
    with exporting(PERSONAS[name](), ids=("p1",)) as sandbox:
        host = sandbox.base_url.split("/")[2].replace("127.0.0.1", "localhost")
        configure(shell.home, sandbox, file_origins=[f"http://{host}"])
        found = report(shell, code=Exit.PARTIAL)
    assert set(found["failures"]) == {"forbidden"}
    assert found["patients"] == {}


def test_google_answers_with_something_else(shell: Shell) -> None:
    with exporting(PERSONAS["google"](), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main")
    assert ran.code == Exit.SERVER
    assert "no Bulk Data manifest" in ran.err
    assert "--ndjson DIR" in ran.err


def test_an_own_export_is_not_started_twice(shell: Shell) -> None:
    with exporting(ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        assert bulk(shell, "start", "main").code == 0
        again = bulk(shell, "start", "main")
        assert again.code == Exit.SETUP
        assert "under way" in again.error
        assert report(shell)["complete"] is True  # `run` goes on with the one that is there
        assert len([r for r in sandbox.requests if r.route == "export-group"]) == 1


@pytest.mark.slow
def test_somebody_elses_export_is_named_in_plain_words(shell: Shell) -> None:
    with exporting(Exporting(jobs_per_client=0), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        ran = bulk(shell, "run", "main")
    assert ran.code == Exit.SERVER
    assert "under way there" in ran.error


REFUSED = [
    ({"level": "system"}, {"levels": ("group",)}, "bulk.level"),
    ({"group": "nobody"}, {}, "bulk.group"),
    ({"dialect": "get"}, {"guide": "4.0.0"}, "bulk.level"),
]


@pytest.mark.parametrize(("settings", "manners", "step"), REFUSED)
def test_refusals_say_what_to_do(
    shell: Shell, settings: dict[str, Any], manners: dict[str, Any], step: str
) -> None:
    with exporting(Exporting(**manners), ids=("p1",)) as sandbox:
        configure(shell.home, sandbox, **settings)
        ran = bulk(shell, "run", "main")
        status = bulk(shell, "status", "--json").json
    assert ran.code == Exit.SERVER
    assert step in ran.error
    assert (status["state"], status["complete"]) == ("failed", False)


# -- status and cancel -----------------------------------------------------------------------------


def test_started_seen_and_cancelled(shell: Shell) -> None:
    with exporting(ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        started = bulk(shell, "start", "main", "--json").json
        shown = bulk(shell, "status", started["export"], "--json").json
        assert (shown["state"], shown["working"], shown["finished"]) == ("waiting", False, None)
        assert bulk(shell, "cancel", "main").code == 0
        assert not sandbox.inside.exports.jobs
    shown = bulk(shell, "status", "--json").json
    assert shown["state"] == "cancelled"
    assert not list((shell.home / "spool").iterdir())
    assert bulk(shell, "resume").code == Exit.USAGE
    with_database = open_database(f"sqlite:///{shell.home / 'twinport.db'}")
    (job,) = BulkStore(with_database).recent()
    assert job.sealed is None  # the key of its spool is gone
    with_database.close()


@pytest.mark.slow
def test_what_nobody_goes_on_with_is_destroyed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exporting(ids=("p1",)) as sandbox:
        configure(shell.home, sandbox)
        assert bulk(shell, "start", "main").code == 0
        lost = shell.home / "spool" / "of-a-killed-process"
        lost.mkdir()
        database = open_database(f"sqlite:///{shell.home / 'twinport.db'}")
        with database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE bulk_jobs SET updated = '2026-01-01 00:00:00'")
        database.close()
        assert report(shell)["complete"] is True
    assert {row["error"] for row in bulk(shell, "status", "--json").jsons} == {None, "abandoned"}
    assert not lost.exists()
