"""Who is asked for: the patient, and where records were merged the one who survives.

`Patient.link` of type `replaced-by` leads to the survivor, and so does a redirect. What was filed
under an earlier id is the same person's, where both resources say so.
"""

from dataclasses import dataclass, field
from typing import Any

from service.fhir.errors import Forbidden, Gone, NotFhir, NotFound, WrongPatient
from service.fhir.http import FhirClient, Resource
from service.fhir.record import SafetyEvent
from service.fhir.references import Rewriter, reference_of

LONGEST_CHAIN = 5
MOST_EARLIER = 10
_WHAT = "GET Patient/{id}"


@dataclass(frozen=True, slots=True)
class Person:
    """One person as this server has them."""

    resource: Resource = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    """The surviving id first, then earlier ones."""
    safety: list[SafetyEvent]

    @property
    def id(self) -> str:
        return self.ids[0]

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(f"Patient/{identity}" for identity in self.ids)


def find_person(client: FhirClient, patient_id: str) -> Person:
    """Read the patient; follow a merge to its end, and look back for those merged into them."""
    survivor = _read(client, patient_id)
    ids = list(dict.fromkeys([survivor["id"], patient_id]))
    following, elsewhere = _linked(survivor, "replaced-by")
    while following:
        if len(ids) > LONGEST_CHAIN or following[0] in ids:
            raise WrongPatient(_WHAT, next_step="Its merge links go round in a circle.")
        survivor = _survivor(client, following[0])
        ids.insert(0, survivor["id"])
        following, elsewhere = _linked(survivor, "replaced-by")
    ids += [i for i in _earlier(client, survivor) if i not in ids]
    count = len(ids) - 1 + elsewhere
    merged = [SafetyEvent("patient-merged", "Patient", count)] if count else []
    return Person(survivor, tuple(ids), merged)


def _survivor(client: FhirClient, identity: str) -> Resource:
    try:
        return _read(client, identity)
    except (NotFound, Gone, Forbidden) as error:
        step = "It was merged into a record that we may not read; ask for access to that one."
        raise WrongPatient(_WHAT, status=error.status, next_step=step) from None


def _read(client: FhirClient, identity: str) -> Resource:
    """The Patient under this id, or the one the server redirected us to."""
    answer = client.read("Patient", identity)
    patient = answer.resource
    if patient is None or patient["resourceType"] != "Patient":
        raise NotFhir(_WHAT, status=answer.status)
    actual = patient.get("id")
    if actual != identity and not (actual and answer.url.endswith(f"/Patient/{actual}")):
        raise WrongPatient(_WHAT, status=answer.status)
    Rewriter(client.server.bases)(patient)
    return patient


def _earlier(client: FhirClient, survivor: Resource) -> list[str]:
    """Those that the survivor claims to replace and that say so themselves. One that is gone took
    its records along; one that says nothing is another person until somebody corrects it."""
    confirmed = []
    for identity in _linked(survivor, "replaces")[0][:MOST_EARLIER]:
        try:
            earlier = _read(client, identity)
        except (NotFound, Gone, Forbidden, WrongPatient):
            continue
        redirected = earlier["id"] == survivor["id"]
        if redirected or survivor["id"] in _linked(earlier, "replaced-by")[0]:
            confirmed.append(identity)
    return confirmed


def _linked(patient: Resource, kind: str) -> tuple[list[str], int]:
    """Ids on this server that links of one type lead to, and how many lead elsewhere."""
    found = [reference_of(link, "other") for link in _links(patient) if link.get("type") == kind]
    local = [text for text in found if text and text.startswith("Patient/")]
    return [text.removeprefix("Patient/") for text in local], len(found) - len(local)


def _links(patient: Resource) -> list[dict[str, Any]]:
    listed = patient.get("link")
    return [link for link in listed if isinstance(link, dict)] if isinstance(listed, list) else []
