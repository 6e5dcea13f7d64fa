"""The command line: help that teaches, one-line errors without values, documented exit codes."""

import gzip
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from service_people import Bundle, Json, person
from support.shell import MAIN, Shell, python

from service.cli import COMMANDS, cli
from service.cli.exits import MEANING, Exit, explain
from service.sandbox import Persona
from service.sandbox.errors import FhirError
from service.sandbox.store import Resource
from service.sandbox.testing import TEST_ANCHOR, RunningSandbox

MARKER = "Zq7marker"


def within(name: str) -> Iterator[tuple[str, ...]]:
    """A command and its sub-commands."""
    yield (name,)
    command = cli.get_command(click.Context(cli), name)
    if isinstance(command, click.Group):
        yield from ((name, inner) for inner in command.commands)


@pytest.fixture
def record() -> Json:
    return person("demo-008", TEST_ANCHOR).bundle()


# -- help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(shell: Shell, name: str) -> None:
    for path in within(name):
        ran = shell(*path, "--help")
        usage, _, sentence = ran.out.partition("\n\n")
        assert (ran.code, ran.err) == (0, "")
        assert usage.startswith(f"Usage: twinport {' '.join(path)}")
        assert sentence.strip()[0].isupper()


def test_the_first_help_names_every_exit_code(shell: Shell) -> None:
    text = " ".join(shell("--help").out.split())
    assert all(f"{code.value} {MEANING[code]}" in text for code in Exit)


def test_nothing_asked_is_answered_with_help(shell: Shell) -> None:
    ran = shell()
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "twinport demo" in ran.err


def test_it_is_installed_under_its_name(home: Path) -> None:
    program = Path(sys.executable).with_name("twinport")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("twinport ")


def test_a_pipe_that_closes_early_is_no_error(home: Path) -> None:
    with python("-c", MAIN, "models", "list", home=home) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(300) == 0


class Refusing(Persona):
    """Takes no RiskAssessment, Observation or anything else."""

    def create(self, kind: str, resource: Resource) -> Resource:
        raise FhirError(403, "forbidden", "not here")


# -- exit codes ---------------------------------------------------------------------------------


def usage_error(shell: Shell, *_: Any) -> Any:
    return shell("run")


def input_error(shell: Shell, *_: Any) -> Any:
    return shell("run", "--bundle", "/nowhere")


def server_error(shell: Shell, sandbox: RunningSandbox, *_: Any) -> Any:
    return shell("run", "--server", sandbox.base_url, "--patient", "nobody")


def write_back_error(shell: Shell, sandbox: RunningSandbox, *_: Any) -> Any:
    """The server loses the ability to be written to."""
    sandbox.inside.persona = Refusing()
    return shell("run", "--server", sandbox.base_url, "--patient", "demo-008")


def not_verified(shell: Shell, _: Any, bundle: Bundle) -> Any:
    return shell("verify", bundle({"twin": {}}))


def setup_error(shell: Shell, *_: Any) -> Any:
    (shell.home / "twinport.toml").write_text("[web]\nnonsense = 1\n")
    return shell("config")


def blocked(shell: Shell, _: Any, bundle: Bundle) -> Any:
    record = person("demo-001", TEST_ANCHOR).bundle()
    code = "38341003"
    patient = next(
        e["resource"] for e in record["entry"] if e["resource"]["resourceType"] == "Patient"
    )
    named = {**patient, "identifier": [{"system": "urn:oid:1.2.3", "value": code}]}
    record["entry"] = [
        {"resource": named if e["resource"] is patient else e["resource"]} for e in record["entry"]
    ]
    return shell("run", "--bundle", bundle(record))


@pytest.mark.parametrize(
    ("case", "code"),
    [
        (usage_error, Exit.USAGE),
        (input_error, Exit.INPUT),
        (server_error, Exit.SERVER),
        (blocked, Exit.BLOCKED),
        (write_back_error, Exit.WRITE_BACK),
        (not_verified, Exit.NOT_VERIFIED),
        (setup_error, Exit.SETUP),
    ],
)
def test_each_code_means_what_the_table_says(
    shell: Shell,
    sandbox: RunningSandbox,
    bundle: Bundle,
    case: Callable[..., Any],
    code: Exit,
) -> None:
    ran = case(shell, sandbox, bundle)
    assert ran.code == code
    assert ran.error


def test_a_defect_shows_its_place_and_never_its_message() -> None:
    def broken() -> None:
        raise RuntimeError(MARKER)

    with pytest.raises(RuntimeError) as caught:
        broken()
    message, code = explain(caught.value)
    assert code == Exit.INTERNAL
    assert "test_service_commands.py" in message
    assert MARKER not in message
    assert explain(KeyboardInterrupt())[1] == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (("--model", "nope"), "prevent"),
        (("--model", "prevent:nope"), "base"),
        (("--policy", "nope"), "safe-harbor"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    shell: Shell, bundle: Bundle, record: Json, arguments: tuple[str, str], known: str
) -> None:
    ran = shell("run", "--bundle", bundle(record), *arguments)
    assert ran.code == Exit.USAGE
    assert known in ran.error


def test_an_unknown_server_is_answered_with_the_known_ones(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", "https://ehr.example.org/fhir")
    ran = shell("run", "--server", "nope", "--patient", "1")
    assert ran.code == Exit.USAGE
    assert "ehr" in ran.error


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--server", f"https://user:{MARKER}@ehr.example.org", "--patient", "1"),
        ("run", "--bundle", "x", MARKER),
        ("run", "--bundle", f"/{MARKER}.json"),
        ("run", "--ndjson", f"/{MARKER}"),
        ("verify", f"/{MARKER}.json"),
        ("ledger", "verify", f"/{MARKER}.jsonl"),
    ],
)
def test_what_was_typed_is_not_repeated(shell: Shell, arguments: tuple[str, ...]) -> None:
    """A file is often named after its patient."""
    ran = shell(*arguments)
    assert ran.code != 0
    assert MARKER not in ran.error


# -- sources ------------------------------------------------------------------------------------


def of_type(record: Json, kind: str) -> Json:
    made = {"resourceType": "Bundle", "type": kind, "entry": list(record["entry"])}
    if kind == "transaction":
        request = {"method": "POST", "url": "Patient"}
        made["entry"] = [{**entry, "request": request} for entry in made["entry"]]
    if kind == "document":
        composition = {"resourceType": "Composition", "id": "c", "status": "final"}
        made["entry"].insert(0, {"resource": composition})
    return made


@pytest.mark.parametrize("kind", ["collection", "searchset", "transaction", "document"])
def test_every_kind_of_bundle_can_be_read(
    shell: Shell, bundle: Bundle, record: Json, kind: str
) -> None:
    ran = shell("run", "--bundle", bundle(of_type(record, kind)), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["counts"]["readings"] > 100


def test_a_packed_bundle_and_a_single_patient(
    shell: Shell, bundle: Bundle, record: Json, tmp_path: Path
) -> None:
    packed = tmp_path / "record.json.gz"
    packed.write_bytes(gzip.compress(orjson.dumps(record)))
    assert shell("run", "--bundle", packed).code == 0
    patient = next(e["resource"] for e in record["entry"] if "birthDate" in e["resource"])
    ran = shell("run", "--bundle", bundle(patient), "--json")
    assert (ran.code, ran.json["pulled"]) == (0, {"Patient": 1})
    assert {item["answer"] for item in ran.json["assessments"]} == {"refused"}


def test_a_folder_of_ndjson_gives_one_folder_per_twin(shell: Shell, tmp_path: Path) -> None:
    """One of the three can't be used: the others are done, and the code says so."""
    export, out = tmp_path / "export", tmp_path / "out"
    export.mkdir()
    people = [person(identity, TEST_ANCHOR) for identity in ("demo-008", "demo-016")]
    lines = [orjson.dumps(r) for one in people for r in one.resources]
    (export / "all.ndjson").write_bytes(b"\n".join(lines))
    ran = shell("run", "--ndjson", export, "--out", out, "--json")
    assert (ran.code, ran.err) == (0, "")
    folders = [path for path in out.iterdir() if path.is_dir()]
    assert {folder.name for folder in folders} == {one["twin"] for one in ran.jsons}
    assert all(shell("verify", folder / "twin.json").code == 0 for folder in folders)
    files = {path.name for path in out.iterdir() if path.is_file()}
    assert files == {"ledger.jsonl", "keys.json"}  # once for all


def test_the_files_are_for_their_owner_alone(
    shell: Shell, bundle: Bundle, record: Json, tmp_path: Path
) -> None:
    out = tmp_path / "deep/out"
    assert shell("run", "--bundle", bundle(record), "--out", out).code == 0
    names = {"twin.json", "assessments.json", "ledger.jsonl", "report.json", "keys.json"}
    assert {file.name for file in out.iterdir()} == names
    assert {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_same_file_twice_gives_the_same_files(
    shell: Shell, bundle: Bundle, record: Json, tmp_path: Path
) -> None:
    file = bundle(record)
    runs = [shell("run", "--bundle", file, "--out", tmp_path / n, "--json") for n in "ab"]
    assert [run.json["new"] for run in runs] == [True, False]
    for name in ("twin.json", "assessments.json", "ledger.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "unchanged" in shell("run", "--bundle", file).out


BAD: dict[str, bytes] = {
    "not JSON": MARKER.encode(),
    "not FHIR": orjson.dumps({"a": MARKER}),
    "a list": orjson.dumps([MARKER]),
    "empty": b"",
    "binary": bytes(range(256)) + MARKER.encode(),
    "truncated gzip": gzip.compress(MARKER.encode() * 1000)[:40],
    "no patient": orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": []}),
    "a wrong entry": orjson.dumps({"resourceType": "Bundle", "type": "collection", "entry": 7}),
    "repeated keys": b'{"resourceType":"Patient","id":"%b","id":"2"}' % MARKER.encode(),
    "50 MB of brackets": b"[" * 50_000_000,
    "a patient without id": orjson.dumps({"resourceType": "Patient", "name": [{"text": MARKER}]}),
    "another resource": orjson.dumps({"resourceType": "Observation", "id": MARKER}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_one_line(shell: Shell, tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{MARKER}.json"
    file.write_bytes(BAD[name])
    ran = shell("run", "--bundle", file, "--out", tmp_path / "out")
    assert (ran.code, ran.out) == (Exit.INPUT, "")
    assert MARKER not in ran.error


def test_a_folder_is_no_bundle_and_a_file_no_folder(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert shell("run", "--bundle", tmp_path).code == Exit.INPUT
    assert shell("run", "--ndjson", tmp_path / "file").code == Exit.INPUT


# -- the day ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "as_of"), [(None, "record"), ("last-record", "record"), ("2026-06-01", "stated")]
)
def test_the_document_says_which_day_it_describes(
    shell: Shell, bundle: Bundle, record: Json, tmp_path: Path, day: str | None, as_of: str
) -> None:
    chosen = ("--as-of", day) if day else ()
    assert shell("run", "--bundle", bundle(record), "--out", tmp_path / "o", *chosen).code == 0
    assert orjson.loads((tmp_path / "o/twin.json").read_bytes())["twin"]["twin"]["asOf"] == as_of


@pytest.mark.parametrize("day", ["tomorrow", "2999-01-01", "2026-02-30", ""])
def test_an_impossible_day_is_refused(shell: Shell, bundle: Bundle, record: Json, day: str) -> None:
    assert shell("run", "--bundle", bundle(record), "--as-of", day).code == Exit.USAGE


# -- the home -----------------------------------------------------------------------------------


def test_a_fresh_machine_needs_nothing(empty_home: Path, bundle: Bundle, record: Json) -> None:
    ran = Shell(empty_home)("run", "--bundle", bundle(record))
    assert ran.code == 0
    assert ran.err == f"created keys and database in {empty_home}\n"


def test_a_home_that_cannot_be_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "file/home"))
    ran = Shell(tmp_path)("ledger", "verify")
    assert ran.code == Exit.SETUP
    assert "TWINPORT_HOME" in ran.error


def test_a_database_that_is_none_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINPORT_DATABASE__URL", raising=False)  # of the embedded one
    (shell.home / "twinport.db").write_bytes(MARKER.encode() * 1000)
    ran = shell("ledger", "verify")
    assert ran.code == Exit.SETUP
    assert ran.error


def test_an_output_that_cannot_be_is_said_before_anything_is_done(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file/out"
    ran = shell("run", "--server", sandbox.base_url, "--patient", "demo-008", "--out", target)
    assert ran.code == Exit.SETUP
    assert ran.error
    assert sandbox.requests == []


def test_a_run_says_how_long_its_results_hold(shell: Shell, bundle: Bundle, record: Json) -> None:
    """And that those of an old record do not, any more."""
    ran = shell("run", "--bundle", bundle(record), "--as-of", "2024-01-02", "--json")
    given = [one for one in ran.json["assessments"] if one["results"]]
    assert given
    assert all(one["holdsDays"] < 0 for one in given if "holdsDays" in one)
    text = shell("run", "--bundle", bundle(record), "--as-of", "2024-01-02").out
    assert "NO LONGER CURRENT since" in text
