"""Nobody finds out alone who a twin is, nobody is told twice, and what is erased stays erased."""

import secrets
from dataclasses import dataclass
from datetime import date, timedelta

import orjson
import pytest
from support.databases import Clock
from support.threads import at_once

from privacy import ledger
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.render import fhir_id
from privacy.signing import SigningKey, VerificationKeys, jwks
from privacy.subject import draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.auth import Role
from service.auth.principals import ROLE_SCOPES, Kind, Principal
from service.fhir.ladder import Rung, row_key
from service.pipeline.deliver import result_key
from service.reidentify.desk import Desk, DeskError
from service.reidentify.reasons import REASONS
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.outbox import SqlOutboxStore
from service.stores.twins import TwinStore
from service.stores.vault import SqlVaultStore

SIGNER = SigningKey.generate()
WHO, BASE = "Patient/zorkmidt-7", "https://fhir.example.org/r4"


def officer(name: str, role: Role = Role.PRIVACY_OFFICER) -> Principal:
    return Principal(role, ROLE_SCOPES[role], name, Kind.API_KEY)


ADA, BEN, EVE = officer("officer-ada"), officer("officer-ben"), officer("officer-eve")


@dataclass
class Held:
    desk: Desk
    database: Database
    vault: Vault
    twin: str
    other: str  # the same person under another policy
    stranger: str

    def lines(self) -> list[bytes]:
        return list(ledger.export(SqlLedgerStore(self.database), SIGNER))

    def entries(self) -> list[dict[str, object]]:
        lines = self.lines()
        report = ledger.verify_ledger(lines, VerificationKeys(jwks([SIGNER.public_jwk()])))
        assert report.ok
        return [orjson.loads(ledger.split(line)[0]) for line in lines[:-1]]

    def assess(self, twin: str, assessment: dict[str, object]) -> None:
        """A next version of a twin, with one assessment in it."""
        store = TwinStore(self.database)
        held = store.get(twin)
        assert held is not None
        store.add(
            pseudonym=twin, version=2, parent=held.about.digest, digest=f"sha256:{twin}2",
            payload=orjson.dumps({"assessments": [assessment]}), proof=b"p",
            policy=held.about.policy,
        )  # fmt: skip

    def audit(self) -> list[tuple[str, str, str]]:
        events = AuditStore(self.database).recent()
        return [(event.subject, event.action, event.outcome) for event in reversed(events)]


@pytest.fixture
def held(database: Database, clock: Clock) -> Held:
    vault = Vault(SqlVaultStore(database), secrets.token_bytes(32))
    rows = [("p/safe-harbor", WHO), ("p/relative-minutes", WHO), ("p/safe-harbor", "Patient/other")]
    twins = [_keep(database, vault, project, patient) for project, patient in rows]
    return Held(Desk(database, vault, SIGNER, clock=clock), database, vault, *twins)


def _seal(vault: Vault, project: str, patient: str, ids: Pseudonyms) -> str:
    twin = new_pseudonym()
    record = SubjectRecord(
        project=project,
        base=BASE,
        patient=patient,
        twin=twin,
        epoch=draw_epoch(date(2026, 1, 2)),
        ids=ids,
        identity={},
    )
    vault.save(record, 0)
    return twin


def _keep(database: Database, vault: Vault, project: str, patient: str) -> str:
    twin = _seal(vault, project, patient, Pseudonyms())
    TwinStore(database).add(
        pseudonym=twin, version=1, parent=None, digest=f"sha256:{secrets.token_hex(32)}",
        payload=b"{}", proof=b"p", policy=project.partition("/")[2],
    )  # fmt: skip
    return twin


def test_two_officers_a_reason_and_one_answer(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "PATSFTY")
    held.desk.decide(BEN, asked.id, approve=True)
    person = held.desk.answer(ADA, asked.id)
    assert (person.patient, person.base) == (WHO, BASE)
    with pytest.raises(DeskError, match="answered already"):
        held.desk.answer(ADA, asked.id)
    assert held.audit() == [
        ("officer-ada", "reidentify-ask", "done"),
        ("officer-ben", "reidentify-approve", "done"),
        ("officer-ada", "reidentify", "done"),
        ("officer-ada", "reidentify", "not-allowed"),
    ]
    assert [entry["event"] for entry in held.entries()] == [
        "reidentify-ask", "reidentify-approve", "reidentify",
    ]  # fmt: skip


def test_nobody_says_who_it_is_but_the_answer(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "PATSFTY")
    held.desk.decide(BEN, asked.id, approve=True)
    person = held.desk.answer(ADA, asked.id)
    shown = repr((person, asked, held.desk.requests(), held.entries(), held.audit()))
    assert "zorkmidt" not in shown
    assert "fhir.example.org" not in shown


def test_nobody_approves_their_own_request(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    with pytest.raises(DeskError, match="somebody else has to decide"):
        held.desk.decide(ADA, asked.id, approve=True)
    with pytest.raises(DeskError, match="not approved"):
        held.desk.answer(ADA, asked.id)
    assert held.audit()[1] == ("officer-ada", "reidentify-decide", "same-person")


def test_the_answer_is_for_who_asked(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    held.desk.decide(BEN, asked.id, approve=True)
    for somebody_else in (BEN, EVE):
        with pytest.raises(DeskError, match="asked by somebody else"):
            held.desk.answer(somebody_else, asked.id)
    assert held.desk.answer(ADA, asked.id).patient == WHO


def test_a_refusal_is_final(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    assert held.desk.decide(BEN, asked.id, approve=False).state == "refused"
    with pytest.raises(DeskError, match="decided already"):
        held.desk.decide(EVE, asked.id, approve=True)
    with pytest.raises(DeskError, match="not approved"):
        held.desk.answer(ADA, asked.id)


@pytest.mark.parametrize("approved", [True, False])
def test_a_request_expires(held: Held, clock: Clock, approved: bool) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    if approved:
        held.desk.decide(BEN, asked.id, approve=True)
    clock.now += timedelta(hours=24)
    if not approved:
        with pytest.raises(DeskError, match="expired"):
            held.desk.decide(BEN, asked.id, approve=True)
    with pytest.raises(DeskError, match="expired"):
        held.desk.answer(ADA, asked.id)


def test_of_many_answers_at_once_one_is_given(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    held.desk.decide(BEN, asked.id, approve=True)

    def answer(_: int) -> bool:
        try:
            return held.desk.answer(ADA, asked.id).patient == WHO
        except DeskError:
            return False

    assert sum(at_once(6, answer)) == 1


@pytest.mark.parametrize("role", [Role.EHR, Role.ADMIN])
def test_only_officers(held: Held, role: Role) -> None:
    somebody = officer("x", role)
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    for attempt in (
        lambda: held.desk.ask(somebody, held.twin, "TREAT"),
        lambda: held.desk.decide(somebody, asked.id, approve=True),
        lambda: held.desk.answer(somebody, asked.id),
        lambda: held.desk.erase(somebody, held.twin),
    ):
        with pytest.raises(DeskError, match="privacy officer"):
            attempt()


def test_a_reason_of_the_list_and_a_twin_that_is_held(held: Held) -> None:
    with pytest.raises(DeskError, match="one of: TREAT"):
        held.desk.ask(ADA, held.twin, "CURIOSITY")
    with pytest.raises(DeskError, match="no such twin"):
        held.desk.ask(ADA, new_pseudonym(), "TREAT")
    with pytest.raises(DeskError, match="no such request"):
        held.desk.decide(ADA, "unknown", approve=True)
    assert all(text for text in REASONS.values())


def test_erasure_destroys_every_way_back_to_the_person_and_no_other(held: Held) -> None:
    made = held.desk.erase(ADA, held.twin)
    assert made.twins == tuple(sorted([held.twin, held.other]))
    assert (made.records, made.left) == (2, 0)
    entry = held.entries()[-1]
    assert (entry["event"], entry["seq"]) == ("erased", made.entry)
    assert (entry["twins"], entry["records"], entry["left"]) == (list(made.twins), 2, 0)
    for project in ("p/safe-harbor", "p/relative-minutes"):
        assert held.vault.load(project, BASE, WHO) is None
    assert held.vault.load("p/safe-harbor", BASE, "Patient/other") is not None
    with pytest.raises(DeskError, match="no way back"):
        held.desk.erase(ADA, held.other)
    with pytest.raises(DeskError, match="erased"):
        held.desk.ask(ADA, held.twin, "TREAT")
    assert TwinStore(held.database).get(held.twin) is not None  # it stays, and is nobody's


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{"outcome": "cvd"}], "refusals": []},
        {"results": [], "refusals": [{"outcome": "cvd", "reason": "missing", "input": "sbp"}]},
    ],
    ids=["a result", "a refusal"],
)
def test_what_was_or_is_to_be_written_back_is_forgotten_too(
    held: Held, answer: dict[str, object]
) -> None:
    """An item of the outbox names the patient, sealed, and the result of the twin."""
    outbox, keys = SqlOutboxStore(held.database), {}
    model = {"id": "prevent", "version": "1", "variant": "base"}
    assessment = {"model": model, "snapshot": "sha256:5", **answer}
    for project, patient in (("p/safe-harbor", WHO), ("p/safe-harbor", "Patient/other")):
        index = held.vault.index(project, BASE, patient)
        keys[patient] = row_key(result_key(index, assessment), Rung.OBSERVATION)
        outbox.enqueue(keys[patient], b"sealed")
    held.assess(held.twin, assessment)
    held.desk.erase(ADA, held.twin)
    assert outbox.get(keys[WHO]) is None
    assert outbox.get(keys["Patient/other"]) is not None


def test_a_patient_of_a_file_is_found_and_erased_by_the_id_in_the_file(held: Held) -> None:
    ids = Pseudonyms()
    name = fhir_id(ids("Patient", "filed"))
    _seal(held.vault, "p/safe-harbor/files", "Patient/filed", ids)
    asked = held.desk.ask(ADA, name, "PATRQT")
    held.desk.decide(BEN, asked.id, approve=True)
    assert held.desk.answer(ADA, asked.id).patient == "Patient/filed"
    assert held.desk.erase(ADA, name).twins == (name,)


def test_an_erasure_is_proved_by_the_exported_ledger_alone(held: Held) -> None:
    made = held.desk.erase(ADA, held.twin)
    for name in made.twins:
        found = ledger.certificate(held.lines(), name)
        assert found is not None
        assert (found.seq, found.digest, found.since) == (made.entry, made.digest, ())
    assert ledger.certificate(held.lines(), held.stranger) is None


def test_a_certificate_says_when_a_twin_is_made_or_found_out_again(held: Held) -> None:
    held.desk.erase(ADA, held.twin)
    for event in ("twin-made", "reidentify-refuse"):  # the second needs no way back
        entry = {"event": event, "twin": held.other}
        ledger.append(SqlLedgerStore(held.database), SIGNER, entry)
    found = ledger.certificate(held.lines(), held.twin)
    assert found is not None
    assert found.since == (2,)


def test_each_step_says_why_and_under_which_policy(held: Held) -> None:
    asked = held.desk.ask(ADA, held.other, "PUBHLTH")
    with pytest.raises(DeskError):
        held.desk.answer(ADA, asked.id)
    events = AuditStore(held.database).recent()
    assert {(event.purpose, event.policy) for event in events} == {
        ("PUBHLTH", load_policy("relative-minutes").short)
    }


def test_a_request_stands_as_the_clock_says(held: Held, clock: Clock) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    assert held.desk.standing(asked) == "waiting"
    refused = held.desk.decide(BEN, held.desk.ask(ADA, held.twin, "TREAT").id, approve=False)
    clock.now += timedelta(hours=24)
    assert (held.desk.standing(asked), held.desk.standing(refused)) == ("expired", "refused")


def test_an_approval_does_not_outlive_an_erasure(held: Held) -> None:
    asked = held.desk.ask(ADA, held.twin, "TREAT")
    held.desk.decide(BEN, asked.id, approve=True)
    held.desk.erase(EVE, held.twin)
    with pytest.raises(DeskError, match="erased"):
        held.desk.answer(ADA, asked.id)
