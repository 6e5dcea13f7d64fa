"""Pulling one patient: what comes, what is kept out, and what is said about completeness."""

from typing import Any

import pytest
from fhir_servers import QUICK, ScriptedServer, bundle, client_for, fhir, observations, outcome
from werkzeug import Request, Response

from service.fhir.errors import NotFound, WrongPatient
from service.fhir.packed import Packed
from service.fhir.pull import pull_patient
from service.fhir.record import Pulled, SafetyEvent


def pull(server: ScriptedServer, *, page_size: int = 50, **kwargs: Any) -> Pulled:
    with client_for(server.base, page_size=page_size) as client:
        return pull_patient(client, "p1", **kwargs)


def slice_of(pulled: Pulled, kind: str) -> dict[str, Any]:
    return next(s for s in pulled.completeness["slices"] if s["type"] == kind)


def ids(pulled: Pulled, kind: str = "Observation") -> list[str]:
    return [r["id"] for r in pulled.resources if r["resourceType"] == kind]


def three_pages(server: ScriptedServer) -> None:
    def answer(request: Request) -> Response:
        page = int(request.args.get("page", "1"))
        names = {1: ("a", "b"), 2: (), 3: ("c",)}[page]
        following = f"Observation?page={page + 1}" if page < 3 else None
        return fhir(bundle(*observations("p1", *names), next=following, total=3))

    server.patient("p1")
    server.on("Observation", answer)


def test_every_page_is_read_and_an_empty_one_is_no_end(scripted: ScriptedServer) -> None:
    three_pages(scripted)
    pulled = pull(scripted)
    assert ids(pulled) == ["a", "b", "c"]
    assert slice_of(pulled, "Observation") == {
        "type": "Observation",
        "verdict": "complete",
        "queries": 1,
        "asked": ["Observation?patient&_count"],
        "refused": 0,
        "pages": 3,
        "matches": 3,
        "duplicates": 0,
        "dropped": {},
        "outcomes": 0,
        "truncated": False,
        "serverTotal": 3,
    }


@pytest.mark.parametrize("most", [1, 1_000])
def test_what_arrives_is_what_is_pulled_in_the_end(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """As it was parsed, of the first; of the others as it is packed."""
    monkeypatch.setattr("service.fhir.pull.PARSED", most)
    three_pages(scripted)
    parts: list[Packed] = []
    pulled = pull(scripted, types=("Observation",), arrived=parts.append)
    found = [resource for part in parts for resource in part]
    assert sorted(found, key=str) == sorted(pulled.resources, key=str)


@pytest.mark.parametrize(
    "link",
    [
        "Observation?x=2",
        "/fhir/Observation?x=2",
        "?x=2",
        "{base}/Observation?x=2",
        "{base}?_getpages=1",
    ],
)
def test_next_is_read_as_the_standard_resolves_it(scripted: ScriptedServer, link: str) -> None:
    last = fhir(bundle(*observations("p1", "b")))
    following = link.format(base=scripted.base)
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("p1", "a"), next=following)), last)
    scripted.on("/fhir", last)
    assert ids(pull(scripted)) == ["a", "b"]


def test_complete_and_empty_differs_from_unknown(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Procedure", fhir(outcome("not-supported"), 404))
    scripted.on("Encounter", fhir(outcome("forbidden"), 403))
    pulled = pull(scripted)
    assert slice_of(pulled, "Condition")["verdict"] == "complete"
    assert slice_of(pulled, "Procedure") | {"reason": "not-supported"} == slice_of(
        pulled, "Procedure"
    )
    assert slice_of(pulled, "Procedure")["verdict"] == "unknown"
    assert slice_of(pulled, "Encounter")["verdict"] == "unknown"
    assert slice_of(pulled, "Encounter")["reason"] == "forbidden"


def test_a_type_the_server_does_not_list_is_not_asked_for(scripted: ScriptedServer) -> None:
    listed = [{"type": t, "interaction": [{"code": "search-type"}]} for t in ("Observation",)]
    statement = {"resourceType": "CapabilityStatement", "rest": [{"resource": listed}]}
    scripted.patient("p1")
    scripted.on("metadata", fhir(statement))
    pulled = pull(scripted)
    assert scripted.asked("Condition") == []
    assert slice_of(pulled, "Condition")["reason"] == "not-supported"
    assert slice_of(pulled, "Observation")["verdict"] == "complete"


def test_a_resource_that_comes_twice_is_kept_once(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    first = fhir(bundle(*observations("p1", "a", "b"), next="Observation?page=2"))
    scripted.on("Observation", first, fhir(bundle(*observations("p1", "b", "c"))))
    pulled = pull(scripted)
    assert ids(pulled) == ["a", "b", "c"]
    assert slice_of(pulled, "Observation")["duplicates"] == 1


def test_the_newest_version_decides(scripted: ScriptedServer) -> None:
    def version(number: int, **more: Any) -> dict[str, Any]:
        return next(observations("p1", "a", meta={"versionId": str(number)}, **more))

    scripted.patient("p1")
    scripted.on(
        "Observation",
        fhir(bundle(version(9), version(10, status="entered-in-error"), version(2))),
    )
    pulled = pull(scripted)
    assert ids(pulled) == []
    assert slice_of(pulled, "Observation")["dropped"] == {"entered-in-error": 1}
    assert slice_of(pulled, "Observation")["verdict"] == "complete"


def test_another_persons_resource_is_dropped_and_reported(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    first = fhir(bundle(*observations("p1", "a"), next="Observation?page=2"))
    second = fhir(bundle(*observations("p2", "x"), *observations("p1", "b")))
    scripted.on("Observation", first, second)
    pulled = pull(scripted)
    assert ids(pulled) == ["a", "b"]
    assert pulled.safety == [SafetyEvent("foreign-subject", "Observation", 1)]
    assert slice_of(pulled, "Observation")["verdict"] == "partial"
    assert slice_of(pulled, "Observation")["dropped"] == {"foreign-subject": 1}


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ({"reference": "https://elsewhere.example/fhir/Patient/p1"}, "foreign-subject"),
        ({"reference": "Group/p1"}, "foreign-subject"),
        ({"reference": "#p1"}, "subject-unproven"),
        ({"identifier": {"system": "urn:x", "value": "p1"}}, "subject-unproven"),
        (None, "subject-unproven"),
    ],
)
def test_nothing_passes_that_does_not_name_the_patient(
    scripted: ScriptedServer, subject: Any, reason: str
) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("", "a", subject=subject))))
    pulled = pull(scripted)
    assert ids(pulled) == []
    assert slice_of(pulled, "Observation")["dropped"] == {reason: 1}


@pytest.mark.parametrize("form", ["Patient/p1", "{base}/Patient/p1", "Patient/p1/_history/3"])
def test_all_forms_of_the_patients_reference_become_plain(
    scripted: ScriptedServer, form: str
) -> None:
    subject = {"reference": form.format(base=scripted.base)}
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("", "a", subject=subject))))
    found = pull(scripted).resources[-1]
    assert found["subject"] == {"reference": "Patient/p1"}


def test_an_outcome_among_the_results_makes_the_slice_partial(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("p1", "a"), outcome("exception"))))
    scripted.on("Condition", fhir(bundle(outcome("informational", "warning"))))
    pulled = pull(scripted)
    assert slice_of(pulled, "Observation")["verdict"] == "partial"
    assert slice_of(pulled, "Observation")["outcomes"] == 1
    assert slice_of(pulled, "Condition")["verdict"] == "complete"


def test_an_outcome_in_place_of_the_results_is_an_error(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(outcome("exception"), 200))
    pulled = pull(scripted)
    assert slice_of(pulled, "Observation")["verdict"] == "unknown"
    assert slice_of(pulled, "Observation")["reason"] == "outcome-instead"


def test_entries_without_content_are_counted(scripted: ScriptedServer) -> None:
    page = bundle(*observations("p1", "a"))
    page["entry"] += [{"fullUrl": "urn:x"}, {"resource": {"resourceType": "Observation"}}, "?"]
    scripted.patient("p1")
    scripted.on("Observation", fhir(page))
    pulled = pull(scripted)
    assert slice_of(pulled, "Observation")["dropped"] == {"no-id": 1, "no-resource": 1}
    assert slice_of(pulled, "Observation")["verdict"] == "partial"


def test_a_server_that_demands_a_category_is_asked_in_parts(scripted: ScriptedServer) -> None:
    def answer(request: Request) -> Response:
        category = request.args.get("category")
        if category is None:
            return fhir(outcome("required", "fatal"), 400)
        if category in ("therapy", "activity"):
            return fhir(outcome("value"), 400)
        return fhir(bundle(*observations("p1", "all", category)))

    scripted.patient("p1")
    scripted.on("Observation", answer)
    learned: set[str] = set()
    pulled = pull(scripted, types=["Observation"], learned=learned)
    row = slice_of(pulled, "Observation")
    assert (row["verdict"], row["queries"], row["refused"]) == ("partial", 9, 2)
    assert row["duplicates"] == 6
    assert len(ids(pulled)) == 8
    before = len(scripted.asked("Observation"))
    pull(scripted, types=["Observation"], learned=learned)
    assert len(scripted.asked("Observation")) - before == 9


def test_asked_in_parts_nothing_is_called_complete(scripted: ScriptedServer) -> None:
    """All nine categories answer; an Observation that has none of them stands in none of these."""

    def answer(request: Request) -> Response:
        if "category" not in request.args:
            return fhir(outcome("required", "fatal"), 400)
        return fhir(bundle(*observations("p1", request.args["category"])))

    scripted.patient("p1")
    scripted.on("Observation", answer)
    row = slice_of(pull(scripted, types=["Observation"]), "Observation")
    assert (row["verdict"], row["reason"], row["refused"]) == ("partial", "by-category", 0)


def test_an_expired_search_is_started_again_once(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    first = fhir(bundle(*observations("p1", "a"), next="Observation?page=2"))
    gone = fhir(outcome("processing"), 410)
    scripted.on("Observation", first, gone, first, fhir(bundle(*observations("p1", "b"))))
    pulled = pull(scripted)
    assert ids(pulled) == ["a", "b"]
    assert slice_of(pulled, "Observation")["verdict"] == "complete"
    scripted.on("Observation", first, gone, first, gone)
    row = slice_of(pull(scripted), "Observation")
    assert (row["verdict"], row["reason"]) == ("partial", "search-expired")


def test_next_links_in_a_circle_end(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("p1", "a"), next="Observation?page=2")))
    row = slice_of(pull(scripted), "Observation")
    assert (row["verdict"], row["reason"], row["truncated"]) == ("partial", "link-loop", True)


def test_the_same_page_under_ever_new_links_ends(scripted: ScriptedServer) -> None:
    def answer(request: Request) -> Response:
        page = int(request.args.get("page", "1"))
        return fhir(bundle(*observations("p1", "a"), next=f"Observation?page={page + 1}"))

    scripted.patient("p1")
    scripted.on("Observation", answer)
    pulled = pull(scripted)
    assert slice_of(pulled, "Observation")["reason"] == "link-loop"
    assert len(scripted.asked("Observation")) < 10


def test_too_many_pages_are_cut_and_said(scripted: ScriptedServer) -> None:
    three_pages(scripted)
    limits = type(QUICK)(pages=2)
    with client_for(scripted.base, limits=limits) as client:
        row = slice_of(pull_patient(client, "p1", ["Observation"]), "Observation")
    assert (row["verdict"], row["truncated"], row["reason"]) == ("partial", True, "too-many")


def test_an_ignored_patient_parameter_is_noticed_and_filtered(scripted: ScriptedServer) -> None:
    answer = bundle(
        *observations("p2", "x"),
        *observations("p1", "a"),
        self=f"{scripted.base}/Observation?_count=2",
    )
    scripted.patient("p1")
    scripted.on("Observation", fhir(answer))
    pulled = pull(scripted)
    assert ids(pulled) == ["a"]
    assert SafetyEvent("parameter-ignored", "Observation", 1) in pulled.safety


def test_the_self_link_of_a_later_page_tells_nothing(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    first = bundle(*observations("p1", "a"), next="Observation?page=2")
    later = bundle(*observations("p1", "b"), self=f"{scripted.base}?_getpages=7f")
    scripted.on("Observation", fhir(first), fhir(later))
    assert pull(scripted).safety == []


def test_medications_are_read_where_they_are_referred_to(scripted: ScriptedServer) -> None:
    def order(identity: str, medication: str) -> dict[str, Any]:
        return {
            "resourceType": "MedicationRequest",
            "id": identity,
            "status": "active",
            "subject": {"reference": "Patient/p1"},
            "medicationReference": {"reference": medication},
        }

    scripted.patient("p1")
    scripted.on(
        "MedicationRequest",
        fhir(bundle(order("r1", "Medication/m1"), order("r2", f"{scripted.base}/Medication/m1"))),
    )
    scripted.on("Medication/m1", fhir({"resourceType": "Medication", "id": "m1"}))
    pulled = pull(scripted)
    assert ids(pulled, "Medication") == ["m1"]
    assert len(scripted.asked("Medication/m1")) == 1
    scripted.on("Medication/m1", fhir(outcome("not-found"), 404))
    pulled = pull(scripted)
    assert slice_of(pulled, "Medication")["verdict"] == "unknown"
    assert slice_of(pulled, "MedicationRequest")["verdict"] == "partial"


def test_without_the_patient_there_is_nothing_to_pull(scripted: ScriptedServer) -> None:
    scripted.on("Patient/p1", fhir(outcome("not-found"), 404))
    with pytest.raises(NotFound, match=r"GET Patient/\{id\}"):
        pull(scripted)
    scripted.on("Patient/p1", fhir({"resourceType": "Patient", "id": "p2"}))
    with pytest.raises(WrongPatient):
        pull(scripted)


def test_progress_is_told(scripted: ScriptedServer) -> None:
    three_pages(scripted)
    seen: list[tuple[str, int, int]] = []
    pull(scripted, types=["Observation"], progress=lambda *step: seen.append(step))
    assert seen == [("Observation", 1, 2), ("Observation", 2, 2), ("Observation", 3, 3)]


def test_a_full_page_without_a_link_is_not_taken_for_the_end(scripted: ScriptedServer) -> None:
    """Some servers cut at `_count` and offer no way on; asking for more shows whether they did."""
    everything = [f"o{n}" for n in range(5)]

    def cutting(request: Request) -> Response:
        return fhir(bundle(*observations("p1", *everything[: int(request.args["_count"])])))

    scripted.patient("p1")
    scripted.on("Observation", cutting)
    pulled = pull(scripted, types=["Observation"], page_size=2)
    row = slice_of(pulled, "Observation")
    assert len(ids(pulled)) == 5
    assert (row["verdict"], row["queries"]) == ("complete", 2)
    everything += [f"o{n}" for n in range(5, 1200)]
    row = slice_of(pull(scripted, types=["Observation"], page_size=2), "Observation")
    assert (row["verdict"], row["reason"], row["matches"]) == ("partial", "more-pages", 1000)


def test_a_full_page_with_its_total_needs_no_second_look(scripted: ScriptedServer) -> None:
    scripted.patient("p1")
    scripted.on("Observation", fhir(bundle(*observations("p1", "a", "b"), total=2)))
    assert slice_of(pull(scripted, page_size=2), "Observation")["queries"] == 1


def test_an_empty_record_is_asked_for_in_both_spellings(scripted: ScriptedServer) -> None:
    """`patient=Patient/p1` and `patient=p1` mean the same; some servers know one of them only."""

    def finds(spelling: str) -> Any:
        def answer(request: Request) -> Response:
            found = observations("p1", "a") if request.args["patient"] == spelling else ()
            return fhir(bundle(*found))

        return answer

    scripted.patient("p1")
    for spelling in ("Patient/p1", "p1"):
        scripted.on("Observation", finds(spelling))
        learned: set[str] = set()
        for _ in range(2):
            assert ids(pull(scripted, learned=learned)) == ["a"]
        learned = {word for word in learned if not word.startswith("accepts:")}
        assert learned == ({"patient:bare-id"} if spelling == "p1" else set())


def test_what_was_learned_once_does_not_make_a_record_empty(scripted: ScriptedServer) -> None:
    """A server that found patients by bare id then, and finds them by reference alone now."""

    def answer(request: Request) -> Response:
        by_reference = request.args["patient"] == "Patient/p1"
        return fhir(bundle(*observations("p1", *(["a"] if by_reference else []))))

    scripted.patient("p1")
    scripted.on("Observation", answer)
    learned = {"patient:bare-id"}
    assert ids(pull(scripted, learned=learned)) == ["a"]
    assert "patient:bare-id" not in learned
