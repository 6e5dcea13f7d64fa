"""A notice beside a result that no longer holds, for a chart that does not let the result be
changed; and the notice that such a one is void, where it cannot be taken back either.

    flag            Flag: what a chart shows above everything else
    document        DocumentReference: in the list of documents, in the place of an older document
    result          RiskAssessment or Observation without a number, in the very list where the
                    result stands
    communication   Communication: a message about it

Each names the results it is about, and holds no number of theirs.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mappings.to_fhir.codings import (
    AI_DEVICE,
    AIAST,
    AUTHOR,
    CREATE,
    LOINC,
    NOT_APPLICABLE,
    labelled,
    own_system,
)
from mappings.to_fhir.common import Json, as_references, resource_id, timestamp
from mappings.to_fhir.companions import url
from mappings.to_fhir.wording import narrative

FLAG, DOCUMENT, RESULT, COMMUNICATION = "flag", "document", "result", "communication"
FORMS = (FLAG, DOCUMENT, RESULT, COMMUNICATION)
_TYPES = {FLAG: "Flag", DOCUMENT: "DocumentReference", COMMUNICATION: "Communication"}
STALE, VOID = "no-longer-holds", "holds-again"

# Published as an extension for any FHIR version that has Flag: "points to the … record that
# provides additional supporting information about this flag".
_DETAIL = "http://hl7.org/fhir/StructureDefinition/flag-detail"
_CLINICAL = {
    "system": "http://terminology.hl7.org/CodeSystem/flag-category",
    "code": "clinical",
    "display": "Clinical",
}
_NOTIFICATION = {
    "system": "http://terminology.hl7.org/CodeSystem/communication-category",
    "code": "notification",
    "display": "Notification",
}
# LOINC 71482-4, the document type of a risk assessment: where its reader looks.
_RISK_DOCUMENT = {"system": LOINC, "code": "71482-4", "display": "Risk assessment Document"}
_LABELS = {STALE: "A result no longer holds", VOID: "A result holds again"}
_CAUSES = {
    "input-withdrawn": "an input was withdrawn or found to be wrong",
    "input-corrected": "an input was corrected",
    "newer-inputs": "on the data as they are now the model makes no estimate",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be said, of which results, and when."""

    kind: str
    """`STALE` or `VOID`."""
    cause: str
    results: Sequence[tuple[str, Mapping[str, Any]]]
    """Reference on the server, and the result as we wrote it."""
    device: Mapping[str, Any]
    identifier: tuple[str, str]
    at: datetime
    accepted: bool = False
    """A person had put their name to it."""
    replaced: bool = False
    """A newer result of the same model stands in the chart."""
    code_base: str = "urn:twinport"

    @property
    def references(self) -> list[str]:
        return [reference for reference, _ in self.results]

    @property
    def first(self) -> Mapping[str, Any]:
        return self.results[0][1]

    @property
    def sentences(self) -> list[str]:
        """Plain words for whoever meets it in the chart."""
        about = f"{title(self.first)}, {_day(self.first)}"
        if self.kind == VOID:
            return [
                f"This result holds again: {about}.",
                "The notice that it no longer holds is void: what had changed is as it was.",
            ]
        said = [
            f"This result no longer holds: {about}. Reason: {_CAUSES[self.cause]}.",
            "This system did not let the result be changed, so it still reads as it was written. "
            "Do not rely on it.",
        ]
        if self.accepted:
            said.append("A clinician had accepted it: what was decided on it needs a review.")
        if self.replaced:
            said.append("A newer result of the same model takes its place.")
        return said


def title(result: Mapping[str, Any]) -> str:
    """What a result calls itself."""
    if result["resourceType"] == "DocumentReference":
        return str(result["content"][0]["attachment"]["title"])
    return str(result["method"]["text"])


def _day(result: Mapping[str, Any]) -> str:
    moments = (result.get(k) for k in ("occurrenceDateTime", "effectiveDateTime", "date"))
    return next(str(moment)[:10] for moment in moments if moment)


def notice_of(form: str, notice: Notice) -> list[Json]:
    """The notice in one form, with its Device and its Provenance."""
    made = _base(_type(form, notice), notice) | _MAKERS[form](notice)
    return [dict(notice.device), made, _provenance(made, notice)]


def notice_type(form: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Which type a server must take for this form."""
    return _TYPES.get(form) or str(results[0]["resourceType"])


def _type(form: str, notice: Notice) -> str:
    return notice_type(form, [notice.first])


def _base(kind: str, notice: Notice) -> Json:
    system, value = notice.identifier
    return {
        "resourceType": kind,
        "id": resource_id(kind, system, value),
        "meta": {**labelled(), "tag": [_coding(notice)]},
        "text": narrative(notice.sentences),
        "identifier": [{"system": system, "value": value}],
        "subject": dict(notice.first["subject"]),
    }


def _coding(notice: Notice) -> Json:
    return {
        "system": own_system(notice, "notice"),
        "code": notice.kind,
        "display": _LABELS[notice.kind],
    }


# -- forms -------------------------------------------------------------------------------------


def _flag(notice: Notice) -> Json:
    details = [{"url": _DETAIL, "valueReference": one} for one in as_references(notice.references)]
    return {
        "extension": details,
        "status": "active",
        "category": [{"coding": [dict(_CLINICAL)]}],
        "code": {"coding": [_coding(notice)], "text": " ".join(notice.sentences)},
        "period": {"start": timestamp(notice.at)},
        "author": {"reference": url(dict(notice.device))},
    }


def _document(notice: Notice) -> Json:
    when, text = timestamp(notice.at), "\n".join(notice.sentences) + "\n"
    attachment = {
        "contentType": "text/plain",
        "data": base64.b64encode(text.encode()).decode("ascii"),
        "title": f"{_LABELS[notice.kind]}: {title(notice.first)}",
        "creation": when,
    }
    made: Json = {
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [dict(_RISK_DOCUMENT)], "text": _LABELS[notice.kind]},
        "date": when,
        "author": [{"reference": url(dict(notice.device))}],
        "description": " ".join(notice.sentences),
        "content": [{"attachment": attachment}],
    }
    return made | _place(notice)


def _place(notice: Notice) -> Json:
    """In the place of a document that no longer holds; beside anything else."""
    encounters = _encounters(notice.first)
    context: Json = {"encounter": encounters} if encounters else {}
    if _takes_the_place("DocumentReference", notice):
        targets = as_references(notice.references)
        replaces: Json = {"relatesTo": [{"code": "replaces", "target": one} for one in targets]}
        return replaces | ({"context": context} if context else {})
    return {"context": {**context, "related": as_references(notice.references)}}


def _encounters(result: Mapping[str, Any]) -> list[Json]:
    if result["resourceType"] == "DocumentReference":
        return list((result.get("context") or {}).get("encounter", ()))
    return [dict(result["encounter"])] if "encounter" in result else []


def _result(notice: Notice) -> Json:
    """Where the result is the newest of its model, whoever shows the newest one in force meets the
    notice in its place; where a newer result is, that one shall be met."""
    when, first = timestamp(notice.at), notice.first
    if first["resourceType"] == "DocumentReference":
        return _document(notice)
    shared: Json = {
        "status": "cancelled" if notice.replaced or notice.kind == VOID else "preliminary",
        "method": dict(first["method"]),
        "code": dict(first["code"]),
        "note": [{"time": when, "text": text} for text in notice.sentences],
        **({"encounter": dict(first["encounter"])} if "encounter" in first else {}),
    }
    own = _as_risk if first["resourceType"] == "RiskAssessment" else _as_observation
    return shared | own(notice, when)


def _as_risk(notice: Notice, when: str) -> Json:
    return {
        "occurrenceDateTime": when,
        "performer": {"reference": url(dict(notice.device))},
        "basis": as_references(notice.references),
    }


def _as_observation(notice: Notice, when: str) -> Json:
    about = [one for one in notice.references if one.startswith("Observation/")]
    found: Json = {
        "category": [dict(one) for one in notice.first["category"]],
        "effectiveDateTime": when,
        "dataAbsentReason": NOT_APPLICABLE,
        "device": {"reference": url(dict(notice.device))},
    }
    return found | ({"derivedFrom": as_references(about)} if about else {})


def _communication(notice: Notice) -> Json:
    return {
        "status": "completed",
        "category": [{"coding": [dict(_NOTIFICATION)]}],
        "topic": {"coding": [_coding(notice)], "text": _LABELS[notice.kind]},
        "about": as_references(notice.references),
        "sent": timestamp(notice.at),
        "sender": {"reference": url(dict(notice.device))},
        "payload": [{"contentString": text} for text in notice.sentences],
    }


_MAKERS: Mapping[str, Callable[[Notice], Json]] = {
    FLAG: _flag, DOCUMENT: _document, RESULT: _result, COMMUNICATION: _communication
}  # fmt: skip


# -- companion ---------------------------------------------------------------------------------


def _takes_the_place(kind: str, notice: Notice) -> bool:
    """Whether it is of the type of what it is about, and so a revision of it in FHIR's words."""
    return kind == notice.first["resourceType"] and notice.kind == STALE


def _provenance(made: Json, notice: Notice) -> Json:
    role = "revision" if _takes_the_place(made["resourceType"], notice) else "source"
    when = timestamp(notice.at)
    return {
        "resourceType": "Provenance",
        "id": resource_id("Provenance", made["id"]),
        "target": as_references([url(made)]),
        "occurredDateTime": when,
        "recorded": when,
        "reason": [{"coding": [dict(AIAST)], "text": _LABELS[notice.kind]}],
        "activity": CREATE,
        "agent": [
            {
                "type": AUTHOR,
                "role": [AI_DEVICE],
                "who": {"reference": url(dict(notice.device))},
            }
        ],
        "entity": [{"role": role, "what": what} for what in as_references(notice.references)],
    }
