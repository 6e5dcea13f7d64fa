"""`python -m bench.console [--twins N]`: the officer's pages over a large installation.

Each page's processor time, its statements, and which of them read a whole table. Nothing fails.
"""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, event, insert, text

from privacy import ledger
from service.app import create_app
from service.auth import Access, Role
from service.config import load_config
from service.fhir.record import PatientRecord
from service.office.build import open_office
from service.pages.site import officer, pages
from service.pipeline.make import Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.pipeline.service import Service
from service.sandbox.population import generate
from service.stores.database import utc_now
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import entry_of
from service.stores.risk import TraitRow
from service.stores.tables import AuditRow, RunRow, TwinRow
from service.stores.twins import TwinStore
from service.web.services import Services

PATIENT = "demo-001"
PAGES = (
    "/privacy",
    "/privacy/twins",
    "/privacy/twins?page=200",
    "/privacy/twins?gate=blocked",
    "/privacy/twins/{twin}",
    "/privacy/twins/{twin}/risk",
    "/privacy/elements/Patient.birthDate",
    "/privacy/stopped",
    "/privacy/runs",
    "/privacy/runs?state=failed",
    "/privacy/runs?page=200",
    "/privacy/policies",
    "/privacy/identifiers",
    "/privacy/risk",
    "/privacy/requests",
    "/privacy/erasures",
    "/privacy/audit",
    "/privacy/audit?action=twin.own",
    "/privacy/ledger",
    "/privacy/ledger/5000",
    "/privacy/reports/whole",
)


@dataclass
class Watch:
    """The statements of one page, each with what it was given."""

    asked: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, _: Connection, __: object, statement: str, given: Any, *___: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            self.asked.append((statement, given))


@click.command()
@click.option("--twins", default=10_000, help="How many twins, runs and uses are held.")
@click.option("--plans", is_flag=True, help="Show the statements that read a whole table.")
def main(twins: int, plans: bool) -> None:
    """Measure the officer's pages over many twins."""
    with tempfile.TemporaryDirectory() as home, installation(Path(home), twins) as (client, engine):
        watch = Watch()
        event.listen(engine, "before_cursor_execute", watch)
        click.echo(
            "| page | ms at first | ms again | statements | whole tables |\n|---|--:|--:|--:|---|"
        )
        for page in PAGES:
            first, _ = timed(client, page, watch)
            again, asked = timed(client, page, watch)
            with engine.connect() as connection:
                read = scans(connection, asked)
            click.echo(
                f"| `{page}` | {first:.0f} | {again:.0f} | {len(asked)} | {', '.join(read)} |"
            )
            if plans:
                for statement in read.values():
                    click.echo(f"    {' '.join(statement.split())[:400]}")


def timed(client: Any, page: str, watch: Watch) -> tuple[float, list[tuple[str, Any]]]:
    watch.asked.clear()
    start = time.process_time()
    answer = client.get(page)
    spent = (time.process_time() - start) * 1000
    assert answer.status_code == 200, (page, answer.status_code)
    return spent, list(watch.asked)


def scans(connection: Connection, asked: list[tuple[str, Any]]) -> dict[str, str]:
    """Tables that a statement goes through from end to end, index or not."""
    found: dict[str, str] = {}
    for statement, given in asked:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        for row in plan:
            if row.detail.startswith("SCAN ") and "LIMIT" not in statement:
                found.setdefault(row.detail.removeprefix("SCAN "), statement)
    return found


# -- a large installation ------------------------------------------------------------------------


@contextmanager
def installation(home: Path, twins: int) -> Iterator[tuple[Any, Any]]:
    config = load_config({"TWINPORT_HOME": str(home)})
    runtime = open_runtime(config)
    try:
        twin = fill(runtime, twins)
        access = Access.build(config, runtime.database, runtime.keys.session.material)
        built = Services(Service(runtime), access, runtime.jwks, office=open_office(runtime))
        client = create_app(config, built, pages=[pages, officer]).test_client()
        sign_in(client, access.codes.issue(Role.PRIVACY_OFFICER))
        yield Named(client, twin), runtime.database.engine
    finally:
        runtime.close()


@dataclass(frozen=True)
class Named:
    """The client, which puts the twin into an address."""

    client: Any
    twin: str

    def get(self, page: str) -> Any:
        return self.client.get(page.format(twin=self.twin))


def sign_in(client: Any, code: str) -> None:
    page = client.get("/sign-in").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    client.post("/sign-in", data={"csrf_token": token, "code": code})


def fill(runtime: Runtime, twins: int) -> str:
    """One twin of the sandbox, and as many more that look like it, in one transaction."""
    record = PatientRecord(PATIENT, "urn:bench", resources(), {"basis": "bundle", "slices": []})
    made = runtime.maker.make(record, Wish("safe-harbor", (), "run"))
    store = SqlLedgerStore(runtime.database)
    entry = entry_of(next(iter(store.lines())))
    held = TwinStore(runtime.database).get(made.twin.id)
    assert held is not None
    names = [secrets.token_urlsafe(16) for _ in range(twins)]
    with store.alone(), runtime.database.write() as session:
        for number, name in enumerate(names):
            ledger.append(store, runtime.signer, like(entry, name, blocked=number % 500 == 7))
        session.execute(insert(TwinRow), [twin_row(n, held) for n in names])
        session.execute(insert(TraitRow), [trait_row(i, n) for i, n in enumerate(names)])
        session.execute(insert(RunRow), [run_row(i, n) for i, n in enumerate(names)])
        session.execute(insert(AuditRow), [audit_row(i, n) for i, n in enumerate(names)])
        session.execute(text("ANALYZE"))
    return made.twin.id


def resources() -> list[dict[str, Any]]:
    people = generate(utc_now().date())
    return list(next(person for person in people if person.id == PATIENT).resources)


def like(entry: Mapping[str, Any], twin: str, *, blocked: bool) -> dict[str, Any]:
    kept = {k: v for k, v in entry.items() if k not in ("seq", "prev")} | {"twin": twin}
    if blocked:
        hits = [{"path": "conditions[].code", "rule": "name-base64"}]
        kept |= {"event": "twin-blocked", "gate": {"passed": False, "searched": 40, "hits": hits}}
    return kept


def twin_row(name: str, held: Any) -> dict[str, Any]:
    return {
        "pseudonym": name,
        "version": 1,
        "parent": None,
        "digest": f"sha256:{secrets.token_hex(32)}",
        "payload": held.payload,
        "proof": held.proof,
        "policy": held.about.policy,
        "created": utc_now(),
    }


def trait_row(number: int, name: str) -> dict[str, Any]:
    sex, age = ("female", "male")[number % 2], 20 + number * 7 % 70
    conditions = " ".join(sorted({f"c{number % 13}", f"c{number % 7}"}))
    return {
        "twin": name,
        "policy": "safe-harbor",
        "sex": sex,
        "age": age,
        "deceased": False,
        "conditions": conditions,
    }


def run_row(number: int, name: str) -> dict[str, Any]:
    at = utc_now() - timedelta(minutes=number)
    return {
        "id": secrets.token_urlsafe(16),
        "kind": "run",
        "server": "sandbox",
        "requested_by": "key.bench",
        "state": "failed" if number % 50 == 3 else "done",
        "counts": {"resources": 400},
        "twin": name,
        "twin_version": 1,
        "created": at,
        "started": at,
        "finished": at,
    }


def audit_row(number: int, name: str) -> dict[str, Any]:
    return {
        "time": utc_now() - timedelta(minutes=number),
        "role": "ehr",
        "subject": "key.bench",
        "action": ("twin.read", "twin.own", "twin.export")[number % 3],
        "object": name,
        "outcome": "done",
    }


if __name__ == "__main__":
    main()
