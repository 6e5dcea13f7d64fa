"""A pull of what has changed gives the very record that a pull of everything gives, whatever
happened in between; and where that cannot be relied on, everything is pulled."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.fhir.http import FhirClient
from service.fhir.pull import pull_changes, pull_patient
from service.fhir.record import Pulled
from service.fhir.servers import from_url
from service.fhir.since import COUNTED, CREATED, CREATED_COUNTED, UNCOUNTED, Kept, Terms
from service.sandbox.errors import FhirError
from service.sandbox.persona import Pairs, Persona, Settings
from service.sandbox.personas import PERSONAS
from service.sandbox.population import PatientBundle
from service.sandbox.search import Query
from service.sandbox.serving import SilentHandler
from service.sandbox.testing import RunningSandbox, running_sandbox

Json = dict[str, Any]
TYPES = ("Observation", "MedicationRequest")
TERMS = Terms(now=datetime(2026, 6, 1, 11, tzinfo=UTC), overlap=timedelta(0))


def observation(identity: str, value: float = 1.0, status: str = "final") -> Json:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": status,
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-05-01",
        "valueQuantity": {"value": value, "unit": "mg/dL"},
    }


def order(identity: str, medication: str) -> Json:
    return {
        "resourceType": "MedicationRequest",
        "id": identity,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "medicationReference": {"reference": f"Medication/{medication}"},
    }


def medication(identity: str, code: str) -> Json:
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": code}
    return {"resourceType": "Medication", "id": identity, "code": {"coding": [coding]}}


RECORD: tuple[Json, ...] = (
    {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-01-01"},
    medication("m0", "1"),
    medication("m1", "2"),
    *(observation(f"o{n}") for n in range(4)),
    order("r0", "m0"),
)


class Time:
    """A clock of the server that moves on by a second at every look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 6, 1, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Chart:
    """One record, and two who read it: one all of it, one what has changed."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = FhirClient(from_url(sandbox.base_url))
        self.kept: Kept | None = None
        self.learned: set[str] = set()

    def changes(self, terms: Terms = TERMS) -> Pulled:
        pulled, kept = pull_changes(
            self.client, "p", self.kept, terms, types=TYPES, learned=self.learned
        )
        self.kept = Kept.from_bytes(kept.to_bytes())
        return pulled

    def everything(self) -> Pulled:
        return pull_patient(self.client, "p", TYPES, learned=self.learned)

    def put(self, resource: Json) -> None:
        self.sandbox.store.put(resource["resourceType"], resource["id"], resource)

    def delete(self, kind: str, identity: str) -> None:
        if self.sandbox.store.read(kind, identity) is not None:
            self.sandbox.store.delete(kind, identity)

    def rests(self, pulled: Pulled) -> dict[str, str | None]:
        return {s["type"]: s.get("rests") for s in slices(pulled) if s["type"] in TYPES}


def slices(pulled: Pulled) -> list[Json]:
    return list(pulled.completeness["slices"])


def told(pulled: Pulled) -> Any:
    """All that a twin is made of."""
    record = sorted(
        (r["resourceType"], r["id"], sorted(r.items(), key=str)) for r in pulled.resources
    )
    verdicts = [(s["type"], s["verdict"], s["matches"], s["dropped"]) for s in slices(pulled)]
    return record, sorted(verdicts, key=str), sorted(pulled.withdrawn.items())


def start(persona: type[Persona] = Persona) -> Any:
    person = PatientBundle("p", "", RECORD)
    return running_sandbox([person], persona=persona(), clock=Time())


@pytest.fixture
def chart() -> Iterator[Chart]:
    with start() as sandbox:
        yield Chart(sandbox)


# -- the same record ---------------------------------------------------------------------------

names = st.sampled_from([f"o{n}" for n in range(6)])
steps = st.one_of(
    st.tuples(st.just("put"), names, st.integers(1, 9)),
    st.tuples(st.just("withdraw"), names, st.just(0)),
    st.tuples(st.just("delete"), names, st.just(0)),
    st.tuples(st.just("away"), names, st.just(0)),
    st.tuples(st.just("order"), st.sampled_from(["r0", "r1"]), st.integers(0, 1)),
    st.tuples(st.just("stop"), st.sampled_from(["r0", "r1"]), st.just(0)),
    st.tuples(st.just("recode"), st.sampled_from(["m0", "m1"]), st.integers(1, 9)),
)
histories = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=4)


def do(chart: Chart, step: tuple[str, str, int]) -> None:
    what, name, number = step
    match what:
        case "put":
            chart.put(observation(name, float(number)))
        case "withdraw":
            chart.put(observation(name, status="entered-in-error"))
        case "away":  # it was somebody else's
            chart.put(observation(name) | {"subject": {"reference": "Patient/other"}})
        case "order":
            chart.put(order(name, f"m{number}"))
        case "recode":
            chart.put(medication(name, str(number)))
        case "delete":
            chart.delete("Observation", name)
        case "stop":
            chart.delete("MedicationRequest", name)


def check_history(history: list[list[tuple[str, str, int]]]) -> None:
    with start() as sandbox:
        chart = Chart(sandbox)
        chart.changes()
        for round_ in history:
            for step in round_:
                do(chart, step)
            assert told(chart.changes()) == told(chart.everything())


quick = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(histories)
def test_changes_give_the_same_record(history: list[list[tuple[str, str, int]]]) -> None:
    check_history(history)


@pytest.mark.slow
@settings(max_examples=20)
@given(histories)
def test_changes_give_the_same_record_in_many_histories(
    history: list[list[tuple[str, str, int]]],
) -> None:
    check_history(history)


# -- only what has changed ---------------------------------------------------------------------


def test_only_what_has_changed_is_sent(chart: Chart) -> None:
    assert chart.rests(chart.changes()) == dict.fromkeys(TYPES)
    chart.put(observation("o1", 7.0))
    sent: list[int] = []
    before = chart.sandbox.inside.persona.page
    chart.sandbox.inside.persona.page = (  # type: ignore[method-assign]
        lambda bundle, query: sent.append(len(bundle.get("entry", ()))) or before(bundle, query)
    )
    pulled = chart.changes()
    assert chart.rests(pulled) == dict.fromkeys(TYPES, COUNTED)
    assert sum(sent) == 1
    assert len(pulled.resources) == 7
    assert {tuple(s["asked"]) for s in slices(pulled) if s["type"] == "Observation"} == {
        ("Observation?patient&_lastUpdated&_count", "Observation?patient&_summary=count")
    }


def test_a_deletion_is_seen_by_the_count_and_all_is_pulled(chart: Chart) -> None:
    chart.changes()
    chart.delete("Observation", "o1")
    pulled = chart.changes()
    assert chart.rests(pulled) == {"Observation": None, "MedicationRequest": COUNTED}
    assert "o1" not in {r["id"] for r in pulled.resources}


def test_all_is_pulled_again_after_a_while(chart: Chart) -> None:
    chart.changes()
    later = Terms(now=TERMS.now + timedelta(hours=25), overlap=timedelta(0))
    assert chart.rests(chart.changes(later)) == dict.fromkeys(TYPES)
    assert chart.rests(chart.changes(later)) == dict.fromkeys(TYPES, COUNTED)


def test_what_is_kept_of_somebody_else_is_not_used(chart: Chart) -> None:
    chart.changes()
    assert chart.kept is not None
    chart.kept = Kept("Patient/another", chart.kept.types)
    assert chart.rests(chart.changes()) == dict.fromkeys(TYPES)


# -- servers that cannot -----------------------------------------------------------------------


class Uncounting(Persona):
    """Gives the matches where it is asked for their number."""

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        return [pair for pair in pairs if pair[0] != "_summary"]


class Refusing(Persona):
    def search(self, query: Query) -> Query:
        if any(name == "_lastUpdated" for name, _ in query.criteria):
            raise FhirError(400, "not-supported", "no")
        return query


class Ignoring(Persona):
    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        return [pair for pair in pairs if pair[0] != "_lastUpdated"]


def test_without_a_count_it_rests_on_changes_alone_and_says_so() -> None:
    with start(Uncounting) as sandbox:
        chart = Chart(sandbox)
        chart.changes()
        chart.put(observation("o1", 7.0))
        pulled = chart.changes()
        assert chart.rests(pulled) == dict.fromkeys(TYPES, UNCOUNTED)
        assert told(pulled)[0] == told(chart.everything())[0]


class Timeless(Ignoring):
    """Heeds no date either."""

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        kept = super().asked(kind, pairs)
        return [pair for pair in kept if pair[0] not in ("date", "authoredon")]


class Silent(Refusing):
    """Lists no date by which anything new could be found."""

    def capability(self, statement: Json) -> Json:
        for row in statement["rest"][0]["resource"]:
            row["searchParam"] = [one for one in row["searchParam"] if one["type"] != "date"]
        return statement


NEVER_BY_DATE = replace(TERMS, created_full_after=timedelta(0))


@pytest.mark.parametrize(
    ("persona", "terms"),
    [
        (Refusing, NEVER_BY_DATE),
        (Ignoring, NEVER_BY_DATE),
        (Timeless, TERMS),
        (Silent, TERMS),
    ],
)
def test_a_server_that_cannot_tell_is_asked_for_everything(
    persona: type[Persona], terms: Terms
) -> None:
    with start(persona) as sandbox:
        chart = Chart(sandbox)
        chart.changes(terms)
        tries = []
        for _ in range(2):
            chart.put(observation("o1", 7.0))
            pulled = chart.changes(terms)
            assert chart.rests(pulled) == dict.fromkeys(TYPES)
            assert told(pulled) == told(chart.everything())
            asked = [form for s in slices(pulled) for form in s["asked"]]
            assert any("_lastUpdated" in form for form in asked) is (not tries)
            tries.append(sum("_lastUpdated" in r.parameters for r in sandbox.requests))
        assert tries[0] == tries[1] > 0  # tried once, and then it is known


def known(sandbox: RunningSandbox) -> Chart:
    """One whose server is known to have no `_lastUpdated`: the first look that finds it out pulls
    everything."""
    chart = Chart(sandbox)
    chart.changes()
    assert chart.rests(chart.changes()) == dict.fromkeys(TYPES)
    return chart


def filed(identity: str, day: str = "2026-06-01") -> Json:
    return observation(identity) | {"effectiveDateTime": day}


@pytest.mark.parametrize("persona", [Refusing, Ignoring])
def test_without_last_updated_what_is_new_is_found_by_its_date(persona: type[Persona]) -> None:
    with start(persona) as sandbox:
        chart = known(sandbox)
        chart.put(filed("late", "2026-05-20"))  # entered days after it was measured
        chart.put(filed("o9"))
        chart.put(order("r1", "m0") | {"authoredOn": "2026-06-01"})
        found = chart.changes()
        assert chart.rests(found) == dict.fromkeys(TYPES, CREATED_COUNTED)
        assert told(found) == told(chart.everything())
        forms = {form for s in slices(found) for form in s["asked"]}
        assert {
            "Observation?patient&date&_count",
            "MedicationRequest?patient&authoredon&_count",
        } <= {form.replace("&_include=MedicationRequest:medication", "") for form in forms}


def test_by_its_date_no_correction_is_seen_until_all_is_pulled_again() -> None:
    """As the slice says; and that is much sooner than where changes are told."""
    with start(Refusing) as sandbox:
        chart = known(sandbox)
        chart.put(observation("o1", 7.0))
        found = chart.changes()
        assert chart.rests(found)["Observation"] == CREATED_COUNTED
        assert told(found) != told(chart.everything())
        later = replace(TERMS, now=TERMS.now + TERMS.created_full_after)
        found = chart.changes(later)
        assert chart.rests(found) == dict.fromkeys(TYPES)
        assert told(found) == told(chart.everything())
        assert found.safety == []  # nobody had promised to tell


class ByCategory(Refusing):
    """As Epic: Observations by category only, of which it does not know all; and no count."""

    unknown: frozenset[str] = frozenset({"therapy", "activity"})

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        named = dict(pairs)
        if kind == "Observation" and "category" not in named:
            raise FhirError(400, "required", "category")
        if named.get("category") in self.unknown:
            raise FhirError(400, "value", "category")
        return super().asked(kind, pairs)


def test_by_category_only_what_is_new_is_asked_for_category_by_category() -> None:
    with start(ByCategory) as sandbox:
        chart = known(sandbox)
        whole = told(chart.changes())
        assert chart.rests(chart.changes())["Observation"] == CREATED
        chart.put(filed("o9"))
        before = len(sandbox.requests)
        found = chart.changes()
        assert told(found) == told(chart.everything()) != whole
        (row,) = (s for s in slices(found) if s["type"] == "Observation")
        assert (row["verdict"], row["rests"], row["matches"]) == ("partial", CREATED, 5)
        asked = [r for r in sandbox.requests[before:] if r.kind == "Observation"]
        narrowed = [r for r in asked if "date" in r.parameters]
        assert len(narrowed) == 9
        # Of what is dated within the days that are asked for again, a correction is seen, too.
        chart.put(filed("o9") | {"status": "entered-in-error"})
        assert told(chart.changes()) == told(chart.everything())
        # Of what is older, none is seen until all is pulled again.
        chart.put(observation("o1", 7.0))
        assert told(chart.changes()) != told(chart.everything())
        later = replace(TERMS, now=TERMS.now + TERMS.created_full_after)
        found = chart.changes(later)
        assert chart.rests(found) == dict.fromkeys(TYPES)
        assert told(found) == told(chart.everything())


def test_by_category_a_correction_is_seen_at_once_where_nobody_may_miss_one() -> None:
    with start(ByCategory) as sandbox:
        chart = Chart(sandbox)
        chart.changes(NEVER_BY_DATE)
        for old in (observation("o1", 7.0), observation("o1", 7.0, "entered-in-error")):
            chart.put(old | {"effectiveDateTime": "2019-01-01"})
            assert told(chart.changes(NEVER_BY_DATE)) == told(chart.everything())


def test_a_category_that_is_refused_only_now_is_no_reason_to_miss_what_is_in_it() -> None:
    with start(ByCategory) as sandbox:
        chart = known(sandbox)
        persona = sandbox.inside.persona
        assert isinstance(persona, ByCategory)
        persona.unknown = frozenset({"therapy", "activity", "laboratory"})
        found = chart.changes()
        (row,) = (s for s in slices(found) if s["type"] == "Observation")
        assert "rests" not in row
        assert row["refused"] == 3


def test_by_its_date_a_deletion_or_a_late_entry_is_seen_by_the_count() -> None:
    with start(Refusing) as sandbox:
        chart = known(sandbox)
        for change in (
            lambda: chart.delete("Observation", "o1"),
            lambda: chart.put(filed("old", "2019-01-01")),
        ):
            change()
            found = chart.changes()
            assert chart.rests(found)["Observation"] is None
            assert told(found) == told(chart.everything())


def test_by_its_date_without_a_count_it_says_so() -> None:
    class Both(Refusing, Uncounting):
        pass

    with start(Both) as sandbox:
        chart = known(sandbox)
        chart.put(filed("o9"))
        found = chart.changes()
        assert chart.rests(found) == dict.fromkeys(TYPES, CREATED)
        assert told(found)[0] == told(chart.everything())[0]


def test_a_server_without_a_clock_is_asked_for_everything(
    chart: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SilentHandler, "date_time_string", lambda *_: "some day")
    chart.changes()
    assert chart.rests(chart.changes()) == dict.fromkeys(TYPES)


def test_a_server_that_changes_behind_its_own_clock_is_found_out(chart: Chart) -> None:
    """What `_lastUpdated` does not tell, the next full pull shows: from then on all is pulled."""
    chart.changes()
    held = chart.sandbox.store.read("Observation", "o1")
    assert held is not None
    chart.sandbox.store.load([{**held, "valueQuantity": {"value": 9.0, "unit": "mg/dL"}}])
    assert told(chart.changes()) != told(chart.everything())
    later = Terms(now=TERMS.now + timedelta(hours=25), overlap=timedelta(0))
    found = chart.changes(later)
    assert [(e.kind, e.type, e.count) for e in found.safety] == [
        ("change-untold", "Observation", 1)
    ]
    assert chart.rests(chart.changes(later)) == {
        "Observation": None,
        "MedicationRequest": COUNTED,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PERSONAS)
def test_on_every_persona_changes_give_the_same_record(name: str) -> None:
    persona = PERSONAS[name]()
    lag = persona.settings(Settings()).search_lag_seconds  # what was written is found that late
    with running_sandbox([PatientBundle("p", "", RECORD)], persona=persona) as sandbox:
        chart = Chart(sandbox)
        chart.changes()
        chart.changes()  # what cannot be asked here is known from now on
        chart.put(observation("o1", 7.0))
        chart.put(observation("o9", 2.0))
        chart.delete("Observation", "o2")
        time.sleep(lag)
        found = chart.changes(Terms(now=TERMS.now))
        if chart.rests(found)["Observation"] == CREATED:
            # Nor does anybody tell of a correction: the same, and much sooner.
            assert "o9" not in {r["id"] for r in found.resources}
            found = chart.changes(Terms(now=TERMS.now + TERMS.created_full_after))
        if chart.rests(found)["Observation"] == UNCOUNTED:
            # Nobody counts: a deletion is unseen, as the slice says, until all is pulled anew.
            assert "o2" in {r["id"] for r in found.resources}
            chart.put(observation("o2", 1.0))
            time.sleep(lag)
            assert told(chart.changes(Terms(now=TERMS.now))) == told(chart.everything())
            chart.delete("Observation", "o2")
            time.sleep(lag)
            found = chart.changes(Terms(now=TERMS.now + timedelta(hours=25)))
        assert told(found) == told(chart.everything())
