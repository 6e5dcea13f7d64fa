"""In which form a server is asked: the plainest good one, and simpler ones where it is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from fhir_servers import ScriptedServer, bundle, client_for, fhir, observations, outcome
from werkzeug import Request, Response

from service.fhir.pull import pull_patient
from service.fhir.record import Pulled, SafetyEvent


def pull(server: ScriptedServer, *types: str, **kwargs: Any) -> Pulled:
    options = {k: kwargs.pop(k) for k in ("post_search", "everything", "page_size") if k in kwargs}
    with client_for(server.base, **({"page_size": 200} | options)) as client:
        return pull_patient(client, "p1", types or ("Observation",), **kwargs)


def asked(pulled: Pulled) -> list[dict[str, Any]]:
    """The slices of what was wanted."""
    return [s for s in pulled.completeness["slices"] if s.get("reason") != "not-asked"]


def slice_of(pulled: Pulled, kind: str) -> dict[str, Any]:
    return next(s for s in pulled.completeness["slices"] if s["type"] == kind)


def ids(pulled: Pulled, kind: str = "Observation") -> list[str]:
    return [r["id"] for r in pulled.resources if r["resourceType"] == kind]


def found(request: Request, *names: str) -> Response:
    return fhir(bundle(*observations("p1", *names), self=request.url))


def statement(**rows: Any) -> Response:
    listed = [
        {"type": name, "interaction": [{"code": "read"}, {"code": "search-type"}], **row}
        for name, row in rows.items()
    ]
    return fhir({"resourceType": "CapabilityStatement", "rest": [{"resource": listed}]})


# -- _count and _include ---------------------------------------------------------------------------


def refusing(test: Callable[[Request], bool]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return fhir(outcome("value"), 400) if test(request) else found(request, "a")

    return answer


@pytest.mark.parametrize(
    ("refused", "asked", "word"),
    [
        (lambda r: int(r.args.get("_count", 0)) > 100, ["200", "100"], "count:100"),
        (lambda r: "_count" in r.args, ["200", "100", None], "count:none"),
    ],
)
def test_a_refused_count_is_lowered_and_that_is_remembered(
    scripted: ScriptedServer, refused: Any, asked: list[str | None], word: str
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", refusing(refused))
    learned: set[str] = set()
    row = slice_of(pull(scripted, learned=learned), "Observation")
    assert [r.args.get("_count") for r in scripted.asked("Observation")] == asked
    assert (row["verdict"], row["queries"], row["refused"], row["matches"]) == ("complete", 1, 0, 1)
    assert word in learned
    pull(scripted, learned=learned)
    assert [r.args.get("_count") for r in scripted.asked("Observation")][len(asked) :] == asked[-1:]


def test_what_is_refused_in_every_form_stays_refused_and_nothing_is_learned(
    scripted: ScriptedServer,
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(outcome("value"), 400))
    learned: set[str] = set()
    row = slice_of(pull(scripted, learned=learned), "Observation")
    assert (row["verdict"], row["reason"], row["refused"]) == ("unknown", "invalid", 1)
    assert not {word for word in learned if word.startswith("count")}


def test_a_count_that_was_taken_before_is_not_to_blame(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(outcome("value"), 400))
    pull(scripted, learned={"accepts:200"})
    assert {r.args["_count"] for r in scripted.asked("Observation")} == {"200"}


def order(identity: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": identity,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "medicationReference": {"reference": "Medication/m1"},
    }


MEDICATION = {"resourceType": "Medication", "id": "m1"}


@pytest.mark.parametrize("listed", [["*"], ["MedicationRequest:medication"]])
def test_medications_are_included_where_that_is_offered(
    scripted: ScriptedServer, listed: list[str]
) -> None:
    scripted.patient("p1")
    scripted.on("metadata", statement(MedicationRequest={"searchInclude": listed}))
    scripted.on("MedicationRequest", fhir(bundle(order("r1"), MEDICATION)))
    pulled = pull(scripted, "MedicationRequest")
    (asked,) = scripted.asked("MedicationRequest")
    assert asked.args["_include"] == "MedicationRequest:medication"
    assert scripted.asked("Medication/m1") == []
    assert ids(pulled, "Medication") == ["m1"]


def test_an_include_is_left_out_where_it_is_refused_or_not_offered(
    scripted: ScriptedServer,
) -> None:
    def answer(request: Request) -> Response:
        refused = "_include" in request.args
        return fhir(outcome("invalid"), 400) if refused else fhir(bundle(order("r1")))

    scripted.patient("p1")
    scripted.on("metadata", statement(MedicationRequest={"searchInclude": ["*"]}))
    scripted.on("MedicationRequest", answer)
    scripted.on("Medication/m1", fhir(MEDICATION))
    learned: set[str] = set()
    pulled = pull(scripted, "MedicationRequest", learned=learned)
    assert "MedicationRequest:no-include" in learned
    assert ids(pulled, "Medication") == ["m1"]
    assert {s["verdict"] for s in asked(pulled)} == {"complete"}


# -- POST _search ----------------------------------------------------------------------------------


def by_post(*names: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        assert request.method == "POST"
        assert request.mimetype == "application/x-www-form-urlencoded"
        mine = request.form.get("patient") == "Patient/p1" and not request.query_string
        return fhir(bundle(*observations("p1", *names))) if mine else fhir(outcome("value"), 400)

    return answer


@pytest.mark.parametrize("status", [405, 414, 501])
def test_where_get_is_refused_for_its_form_the_search_is_posted(
    scripted: ScriptedServer, status: int
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(outcome("not-supported"), status))
    scripted.on("Observation/_search", by_post("a", "b"))
    learned: set[str] = set()
    pulled = pull(scripted, learned=learned)
    assert ids(pulled) == ["a", "b"]
    assert slice_of(pulled, "Observation")["verdict"] == "complete"
    pull(scripted, learned=learned)
    assert len(scripted.asked("Observation")) == 1


def test_posting_always_puts_no_patient_into_a_url(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation/_search", by_post("a"))
    assert ids(pull(scripted, post_search="always")) == ["a"]
    assert scripted.asked("Observation") == []


def test_posting_never_or_always_does_not_fall_back(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(outcome("not-supported"), 405))
    scripted.on("Observation/_search", fhir(outcome("not-supported"), 405))
    assert slice_of(pull(scripted, post_search="never"), "Observation")["verdict"] == "unknown"
    assert scripted.asked("Observation/_search") == []
    before = len(scripted.asked("Observation"))
    assert slice_of(pull(scripted, post_search="always"), "Observation")["verdict"] == "unknown"
    assert len(scripted.asked("Observation")) == before


def test_a_server_that_does_not_read_the_form_gives_nobody_elses_records(
    scripted: ScriptedServer,
) -> None:
    everybody = bundle(*observations("p2", "x"), self=f"{scripted.base}/Observation?_count=200")
    scripted.patient("p1")
    scripted.on("Observation/_search", fhir(everybody))
    pulled = pull(scripted, post_search="always")
    assert ids(pulled) == []
    assert slice_of(pulled, "Observation")["reason"] == "refused"


# -- $everything -----------------------------------------------------------------------------------

EVERYTHING = "Patient/p1/$everything"
TYPES = ("Observation", "MedicationRequest")


def offering() -> Response:
    return statement(
        Patient={"operation": [{"name": "everything"}]}, Observation={}, MedicationRequest={}
    )


def test_everything_is_one_walk_dealt_out_to_the_types(scripted: ScriptedServer) -> None:
    patient = {"resourceType": "Patient", "id": "p1"}
    place = {"resourceType": "Location", "id": "l1"}
    following = f"{scripted.base}/more?page=2"
    scripted.patient("p1")
    scripted.on("metadata", offering())
    first = bundle(patient, *observations("p1", "a"), order("r1"), next=following)
    scripted.on(EVERYTHING, fhir(first))
    # Some servers repeat the patient, and more, on every page.
    scripted.on("more", fhir(bundle(patient, *observations("p1", "a", "b"), MEDICATION, place)))
    pulled = pull(scripted, *TYPES, everything=True)
    assert (ids(pulled), ids(pulled, "Patient")) == (["a", "b"], ["p1"])
    assert ids(pulled, "Medication") == ["m1"]
    assert pulled.out_of_scope == {"Location": 1}
    assert {s["verdict"] for s in asked(pulled)} == {"complete"}
    assert slice_of(pulled, "Observation")["duplicates"] == 1
    assert scripted.asked("Observation") == []


@pytest.mark.parametrize(
    "unsound",
    [
        fhir(outcome("exception"), 500),
        fhir(bundle()),
        fhir(bundle(*observations("p1", "a"), *observations("p2", "x"))),
        fhir(bundle(*observations("p1", "a"), next="/fhir/elsewhere?page=1")),
    ],
)
def test_where_everything_is_not_sound_searches_take_its_place(
    scripted: ScriptedServer, unsound: Response
) -> None:
    scripted.patient("p1")
    scripted.on("metadata", offering())
    scripted.on(EVERYTHING, unsound)
    scripted.on("elsewhere", fhir(outcome("not-found"), 404))
    scripted.on("Observation", fhir(bundle(*observations("p1", "a", "b"))))
    learned: set[str] = set()
    pulled = pull(scripted, *TYPES, everything=True, learned=learned)
    assert ids(pulled) == ["a", "b"]
    assert "no-everything" in learned
    tries = len(scripted.asked(EVERYTHING))
    pull(scripted, *TYPES, everything=True, learned=learned)
    assert len(scripted.asked(EVERYTHING)) == tries


def test_everything_is_not_used_unless_wished_and_offered(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("p1", "a"))))
    for everything, metadata in ((False, offering()), (True, statement(Observation={}))):
        scripted.on("metadata", metadata)
        assert ids(pull(scripted, everything=everything)) == ["a"]
    assert scripted.asked(EVERYTHING) == []


def test_an_outcome_beside_everything_speaks_of_every_type(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("metadata", offering())
    cut = outcome("incomplete", "warning")
    scripted.on(EVERYTHING, fhir(bundle(*observations("p1", "a"), cut)))
    pulled = pull(scripted, *TYPES, everything=True)
    rows = [slice_of(pulled, kind) for kind in TYPES]
    assert {(r["verdict"], r["reason"]) for r in rows} == {("partial", "server-outcome")}


# -- only what is needed ---------------------------------------------------------------------------


def test_only_the_types_asked_for_are_searched(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    pulled = pull(scripted, "Observation", "Condition")
    assert [s["type"] for s in asked(pulled)] == ["Patient", "Observation", "Condition"]
    others = [s for s in pulled.completeness["slices"] if s not in asked(pulled)]
    assert {(s["verdict"], s["reason"]) for s in others} == {("unknown", "not-asked")}
    assert {"Encounter", "Procedure"} <= {s["type"] for s in others}
    assert scripted.asked("Encounter") == []


# -- members ---------------------------------------------------------------------------------------


def panel(identity: str, *members: str) -> dict[str, Any]:
    named = [{"reference": f"Observation/{member}"} for member in members]
    return next(observations("p1", identity, hasMember=named))


def test_members_that_no_search_brought_are_read_also_members_of_members(
    scripted: ScriptedServer,
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(panel("a", "b", "c"), *observations("p1", "b"))))
    scripted.on("Observation/c", fhir(panel("c", "d", "a")))
    scripted.on("Observation/d", fhir(next(observations("p1", "d"))))
    pulled = pull(scripted)
    row = slice_of(pulled, "Observation")
    assert ids(pulled) == ["a", "b", "c", "d"]
    assert (row["verdict"], row["queries"]) == ("complete", 3)
    assert scripted.asked("Observation/b") == []


def test_results_of_a_report_are_read(scripted: ScriptedServer) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "result": [{"reference": "Observation/a"}, {"display": "no reference"}],
    }
    scripted.patient("p1")
    scripted.on("DiagnosticReport", fhir(bundle(report)))
    scripted.on("Observation/a", fhir(next(observations("p1", "a"))))
    assert ids(pull(scripted, "Observation", "DiagnosticReport")) == ["a"]


def test_a_member_that_cannot_be_read_makes_the_observations_partial(
    scripted: ScriptedServer,
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(panel("a", "b"))))
    scripted.on("Observation/b", fhir(outcome("forbidden"), 403))
    row = slice_of(pull(scripted), "Observation")
    assert (row["verdict"], row["reason"]) == ("partial", "forbidden")


def test_a_member_of_another_person_is_dropped_and_reported(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(panel("a", "b"))))
    scripted.on("Observation/b", fhir(next(observations("p2", "b"))))
    pulled = pull(scripted)
    assert ids(pulled) == ["a"]
    assert pulled.safety == [SafetyEvent("foreign-subject", "Observation", 1)]


def test_the_number_of_members_read_is_bounded(scripted: ScriptedServer) -> None:
    def endless(request: Request) -> Response:
        identity = request.path.rsplit("/", 1)[1]
        return fhir(next(observations("p1", identity)))

    names = [f"m{n}" for n in range(600)]
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(panel("a", *names))))
    for name in names:
        scripted.on(f"Observation/{name}", endless)
    pulled = pull(scripted)
    row = slice_of(pulled, "Observation")
    assert len(ids(pulled)) == 501
    assert (row["verdict"], row["reason"], row["truncated"]) == ("partial", "too-many", True)
