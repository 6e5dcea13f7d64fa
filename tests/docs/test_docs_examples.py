"""Every example that is shown without its surroundings is run here, in a folder that has them.

Pages show files and servers that a reader has and a test does not: `patient.json.gz`, a server of
their own. Each is stood in for by a real one: the sandbox, its patients, rows made by hand.
"""

import gzip
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from docs_pages import ROOT, blocks, pages
from docs_shell import environment
from joserfc.jwk import OKPKey

from service.sandbox.testing import population, running_sandbox

SERVERS = re.compile(r"https://fhir\.example\.org/r4|http://127\.0\.0\.1:8090/fhir")
PATIENT = "123"
# Run by CI itself, or by the test of their own page.
ELSEWHERE = ("make ", "git ", "cd ", "export ", ".ci/", "curl ", "twinport sandbox", "docker ")
# Their own tests have servers of every kind to speak to.
ELSEWHERE += ("twinport server ", "twinport bulk ")
# A passphrase is asked for, an administrator decides, or a person was erased before: their own
# tests (tests/portable, tests/models, tests/reidentify) have these.
ELSEWHERE += ("twinport unlock ", "twinport models local ", "twinport ledger certificate ")
# Another installation, or a server that changes, takes part: tests/receive, tests/watch.
ELSEWHERE += ("twinport receive", "twinport extend ", "twinport trust ", "twinport watch ")
# CI measures by itself, and a foreign server is fetched by who has one.
ELSEWHERE += ("python -m bench", "tests/interop/hapi/")


def _examples() -> Iterator[tuple[str, str]]:
    """(page, command), each once."""
    seen = set()
    for page in pages():
        if page.startswith(("examples/", "docs/vendors/")):
            continue  # a plug-in is run by its own test; vendors' servers are not ours to call
        for block in blocks(page):
            if block.label not in {"console", ""}:
                continue
            for line in _typed(block.text.splitlines()):
                command = re.sub(r"\s+# .*$", "", line).removeprefix(".venv/bin/").strip()
                if not command or "[OPTIONS]" in command or command.startswith(ELSEWHERE):
                    continue
                if command not in seen:
                    seen.add(command)
                    yield page, command


def _typed(lines: list[str]) -> list[str]:
    """Where answers are shown, too, what is typed stands behind a prompt."""
    return [line[2:] for line in lines if line.startswith("$ ")] or lines


@pytest.mark.slow
def test_every_example_runs(tmp_path: Path, forge: Path) -> None:
    found = list(_examples())
    assert len(found) > 15
    with running_sandbox() as sandbox:
        shell = _Shell(tmp_path, forge)
        twin = _prepare(tmp_path, shell)
        failures = []
        for page, command in found:
            real = SERVERS.sub(sandbox.base_url, command)
            real = real.replace(f"--patient {PATIENT}", "--patient demo-001")
            real = re.sub(r"--twin (ID|TWIN)\b", f"--twin={twin}", real)
            code, said = shell.run(f"rm -rf clean && {real}")
            if code:
                failures.append(f"{page}: {command}: {code}: {said[-300:]}")
    assert not failures, "\n".join(failures)


class _Shell:
    def __init__(self, folder: Path, programs: Path) -> None:
        (folder / "home").mkdir()
        self._folder = folder
        self._environment = environment(folder, {"8080": "8080"}, programs)
        self._environment["TWINPORT_WEB__PUBLIC_URL"] = "https://twin.example.org"

    def run(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def _prepare(folder: Path, shell: _Shell) -> str:
    """The files that the examples speak of; the pseudonym of the twin they were made of."""
    people = {person.id: person for person in population()}
    whole = _bundle(people["demo-001"].resources)
    (folder / "bundle.json").write_bytes(orjson.dumps(whole))
    (folder / "patient.json.gz").write_bytes(gzip.compress(orjson.dumps(whole)))
    _ndjson(folder / "export", [*people["demo-001"].resources, *people["demo-008"].resources])
    _rows(folder)
    kept = [r for r in people["demo-001"].resources if r["resourceType"] != "Procedure"]
    (folder / "before.json").write_bytes(orjson.dumps(_bundle(kept)))
    for command in (
        "twinport run --bundle before.json --out monday",
        "twinport run --bundle patient.json.gz --out today",
        "twinport run --bundle patient.json.gz --out here",
        "twinport run --ndjson export --out cohort",
        "cp here/twin.json twin.json",
    ):
        code, said = shell.run(command)
        assert code == 0, f"{command}: {said}"
    document: dict[str, Any] = orjson.loads((folder / "here" / "twin.json").read_bytes())
    twin = str(document["twin"]["twin"]["id"])
    (folder / "secret.txt").write_text("a long enough secret\n", "utf-8")
    (folder / "their-key.json").write_bytes(orjson.dumps(_public_key()))
    for command in (
        f"twinport share make --twin={twin} --long-term > link.txt",
        "twinport keys show --json > keys.json",
        f"twinport export --twin={twin} --to sphr --out given && mv given/*.sphr record.sphr",
    ):
        code, said = shell.run(command)
        assert code == 0, f"{command}: {said}"
    return twin


def _public_key() -> dict[str, Any]:
    return dict(OKPKey.generate_key("X25519").as_dict(private=False))


def _bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _ndjson(folder: Path, resources: list[dict[str, Any]]) -> None:
    folder.mkdir()
    by_type: dict[str, list[bytes]] = {}
    for resource in resources:
        by_type.setdefault(resource["resourceType"], []).append(orjson.dumps(resource))
    for kind, lines in by_type.items():
        (folder / f"{kind}.ndjson").write_bytes(b"\n".join(lines) + b"\n")


def _rows(folder: Path) -> None:
    """Made-up people and events; what they say is not looked at."""
    draw = random.Random(7)
    names = "id,ward,age,sex,total-cholesterol,hdl-cholesterol,systolic-bp,bmi,egfr"
    names += ",diabetes,smoking-current,bp-treatment,statin"
    lines, events = [names], ["id,event"]
    for number in range(800):
        sex, ward = draw.choice(("female", "male")), draw.choice("ab")
        flags = ",".join(str(draw.randrange(2)) for _ in range(4))
        lines.append(
            f"{number},{ward},{draw.randrange(35, 79)},{sex},{draw.randrange(150, 280)},"
            f"{draw.randrange(30, 80)},{draw.randrange(100, 180)},27,85,{flags}"
        )
        events.append(f"{number},{int(draw.random() < 0.3)}")
    for name in ("people.csv", "rows.csv"):
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "events.csv").write_text("\n".join(events) + "\n", "utf-8")


def test_examples_are_found_on_the_readme() -> None:
    assert any(page == "README.md" for page, _ in _examples())
    assert (ROOT / "README.md").exists()
