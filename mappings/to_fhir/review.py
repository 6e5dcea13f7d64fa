"""What a clinician decided on a result, in the result itself and in a Provenance of its own.

The machine's label stays: a review does not make a number a person's. A result that was not
accepted becomes `cancelled`, as R4 calls what was taken back while still preliminary; it was no
error, and nothing in it is changed but what is said here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mappings.to_fhir.codings import UPDATE, VERIFIER, own_system
from mappings.to_fhir.common import Json, resource_id, timestamp
from mappings.to_fhir.wording import paragraph

TAG = "urn:twinport:review"
PRELIMINARY = "preliminary"
ACCEPTED, OVERRIDDEN = "accepted", "overridden"
_STATUS = {ACCEPTED: "final", OVERRIDDEN: "cancelled"}
# R4 has no `cancelled` for a document (http://hl7.org/fhir/R4/valueset-composition-status.html); of
# its four codes this one says that nothing in it is to be relied on. The reference stays current.
_DOCUMENT_STATUS = {ACCEPTED: "final", OVERRIDDEN: "entered-in-error"}
_WORDS = {
    ACCEPTED: "final, reviewed by a clinician",
    OVERRIDDEN: "not accepted by a clinician",
}
_NOTES = {
    ACCEPTED: "Reviewed and accepted by a clinician",
    OVERRIDDEN: "Reviewed and not accepted by a clinician",
}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A decision, ready to be written. `reason` is a sentence of ours, `comment` the person's."""

    id: str
    decision: str
    reviewer: str
    """A code for the person, as they are known here."""
    at: datetime
    reason: str = ""
    comment: str = ""
    code_base: str = "urn:twinport"


def is_open(resource: Mapping[str, Any]) -> bool:
    """Whether nobody has decided on it: still as the machine wrote it."""
    said = "docStatus" if resource["resourceType"] == "DocumentReference" else "status"
    return resource.get(said) == PRELIMINARY


def bears(resource: Mapping[str, Any], review: Reviewed) -> bool:
    """Whether this decision is in it already."""
    tags = (resource.get("meta") or {}).get("tag") or ()
    return any((t.get("system"), t.get("code")) == (TAG, review.id) for t in tags)


def reviewed(resource: Mapping[str, Any], review: Reviewed) -> Json:
    """The result with the decision in it."""
    changed = {**resource, **_status(resource, review), "meta": _tagged(resource, review)}
    text = resource.get("text")
    if text:
        div = text["div"].replace(PRELIMINARY, _WORDS[review.decision], 1)
        changed["text"] = {**text, "div": div}
    said = _said(review)
    if resource["resourceType"] == "DocumentReference":
        return {**changed, "description": f"{said} {resource.get('description', '')}".strip()}
    note = {"authorString": review.reviewer, "time": timestamp(review.at), "text": said}
    return {**changed, "note": [*resource.get("note", ()), note]}


def _status(resource: Mapping[str, Any], review: Reviewed) -> Json:
    if resource["resourceType"] == "DocumentReference":
        return {"docStatus": _DOCUMENT_STATUS[review.decision]}
    return {"status": _STATUS[review.decision]}


def _tagged(resource: Mapping[str, Any], review: Reviewed) -> Json:
    meta = resource.get("meta") or {}
    return {**meta, "tag": [*meta.get("tag", ()), {"system": TAG, "code": review.id}]}


def _said(review: Reviewed) -> str:
    reason = f": {review.reason}" if review.reason else ""
    comment = f"Comment: {review.comment}" if review.comment else ""
    return paragraph(f"{_NOTES[review.decision]}{reason}.", comment)


def review_provenance(target: str, review: Reviewed) -> Json:
    """Who decided, when and what; `target` is the result on its server."""
    reviewer = {"system": own_system(review, "reviewer"), "value": review.reviewer}
    decision = {"system": own_system(review, "review-decision"), "code": review.decision}
    return {
        "resourceType": "Provenance",
        "id": resource_id("Provenance", TAG, review.id, target),
        "target": [{"reference": target}],
        "occurredDateTime": timestamp(review.at),
        "recorded": timestamp(review.at),
        "reason": [{"coding": [decision], "text": f"{_NOTES[review.decision]}."}],
        "activity": UPDATE,
        "agent": [
            {"type": VERIFIER, "who": {"type": "Practitioner", "identifier": reviewer}},
        ],
    }
