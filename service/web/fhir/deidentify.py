"""`POST /fhir/$de-identify`, in the shape of HL7's DARTS guide: identified FHIR in, the same
without identity out, under a named policy.

Taken are Parameters (`policy`, `identifiableData`), a Bundle or resource by itself (the policy in
the address), or NDJSON. The answer comes in the form of the question.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from flask import Blueprint, Response, g, request

from privacy.policy import policy_ids
from service.auth import Scope
from service.deidentify.files import bundle_of
from service.deidentify.operation import Done, Made, Operation
from service.deidentify.people import Identifying
from service.deidentify.reading import Reading, read_lines, resources_of
from service.fhir.errors import SourceError
from service.fhir.source import UNREADABLE, Parsed, split_lines
from service.pipeline.errors import RunError
from service.web.audiences import closed
from service.web.errors import FHIR_JSON, Fault, WebError
from service.web.fhir.blueprint import FHIR_TYPES, agree_on_format, media
from service.web.fhir.parameters import DEIDENTIFY, FILES, read_parameters
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import settings

Json = dict[str, Any]
Refusals = Counter[tuple[str, str]]

NDJSON = ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")
# The one policy code of the guide (CodeSystem darts-policy-identifiers), and ours that it means.
DARTS = {"HHS_SAFE_HARBOR_DETERMINISTIC_METHOD": "safe-harbor"}
_POLICY = "policy"


class Asked(NamedTuple):
    """What is to be de-identified, how, and the form of the answer."""

    resources: Sequence[Any]
    policy: str
    form: str  # "parameters", "bundle", "resource" or "ndjson"
    identifying: Identifying | None = None  # where reading has collected it


def deidentify_blueprint(operation: Operation) -> Blueprint:
    """`/fhir/$de-identify` over one operation."""
    found = Blueprint("deidentify", __name__, url_prefix="/fhir")

    @found.post("/$de-identify")
    @closed(Scope.FHIR_DEIDENTIFY)
    def deidentify() -> Response:
        asked = _asked()
        try:
            done = operation.apply(
                asked.resources, asked.policy, principal(), _body_of(asked.form), g.request_id,
                bundled=asked.form in {"bundle", "parameters"}, identifying=asked.identifying,
            )  # fmt: skip
        except SourceError as error:  # two people under one id, and the like
            raise WebError("unprocessable", faults=[Fault("Bundle", str(error))]) from None
        except RunError:
            raise WebError(Failure.BUSY) from None
        if asked.form == "resource" and not done.written:
            raise WebError("unprocessable", faults=_faults(done.refusals))
        return _answer(done, asked.form)

    return found


# -- the question --------------------------------------------------------------------------------


def _asked() -> Asked:
    kind, _ = media(request.headers.get("Content-Type", ""))
    if kind in NDJSON:
        lines = split_lines([request.get_data()])
        # A line that cannot be read is refused and counted, like a resource that cannot be used.
        resources, identifying = read_lines([line or UNREADABLE for line in lines])
        return Asked(resources, _named(), "ndjson", identifying)
    agree_on_format()
    if kind not in FHIR_TYPES:
        raise WebError("unsupported-media-type")
    reading = _read(request.get_data())
    value = reading.parsed.value
    name = value.get("resourceType") if isinstance(value, dict) else None
    if name == "Parameters":
        return _of_parameters(reading.parsed)
    if not isinstance(name, str):
        raise WebError("malformed", next_step="Send a resource, a Bundle or Parameters.")
    form = "bundle" if name == "Bundle" else "resource"
    return Asked(_listed(reading.resources), _named(), form, reading.identifying)


def _of_parameters(sent: Parsed) -> Asked:
    if request.args:
        raise WebError("not-supported", next_step="Send the parameters in the body.")
    found = read_parameters(sent.value, DEIDENTIFY)
    if found[FILES]:
        step = "Addresses are not fetched: send the data itself, as identifiableData or as NDJSON."
        raise WebError("not-supported", next_step=step)
    if not found["identifiableData"]:
        what = "The parameter identifiableData is missing."
        raise WebError("required", faults=[Fault("Parameters.parameter", what)])
    policy = _policy(found[_POLICY][0], "Parameters.parameter.where(name = 'policy')")
    resources = _listed(lambda: resources_of(found["identifiableData"][0], sent.referring))
    return Asked(resources, policy, "parameters")


def _named() -> str:
    """The policy in the address; the configured one where none is named."""
    if request.args.keys() - {_POLICY}:
        raise WebError("not-supported", next_step="The only parameter in the address is policy.")
    return _policy(request.args.get(_POLICY, settings().policy.default), "http.policy")


def _policy(name: str, where: str) -> str:
    """By our name for it or by the guide's; what was asked is never repeated."""
    found = DARTS.get(name, name)
    if found not in policy_ids():
        known = ", ".join((*policy_ids(), *DARTS))
        raise WebError("not-supported", faults=[Fault(where, f"Policies are {known}.")])
    return found


def _read(data: bytes) -> Reading:
    try:
        return Reading(data)
    except SourceError as error:
        raise WebError("malformed", faults=[Fault("", str(error))]) from None


def _listed(resources: Callable[[], list[Any]]) -> list[Any]:
    try:
        return resources()
    except SourceError as error:
        raise WebError("malformed", faults=[Fault("Bundle.entry", str(error))]) from None


# -- the answer ----------------------------------------------------------------------------------


def _body_of(form: str) -> Any:
    forms = {
        "parameters": _parameters,
        "bundle": lambda made, _: orjson.dumps(bundle_of(made)),
        "resource": lambda made, _: made[0].data if made else b"",
        "ndjson": lambda made, _: b"".join(given.data + b"\n" for given in made),
    }
    return forms[form]


def _parameters(made: Made, refusals: Refusals) -> bytes:
    parts: list[Json] = [{"name": "de-identifiedData", "resource": bundle_of(made)}]
    if refusals:
        parts.append({"name": "outcome", "resource": _outcome(refusals)})
    return orjson.dumps({"resourceType": "Parameters", "parameter": parts})


def _outcome(refusals: Refusals) -> Json:
    """How many resources of which type were left out, and why."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "warning", "code": "suppressed", "diagnostics": f"{n} left out: {reason}",
             "expression": [kind]}
            for (kind, reason), n in sorted(refusals.items())
        ],
    }  # fmt: skip


def _faults(refusals: Refusals) -> list[Fault]:
    return [Fault(kind, f"Refused: {reason}.") for kind, reason in sorted(refusals)]


def _answer(done: Done, form: str) -> Response:
    kind = NDJSON[0] if form == "ndjson" else FHIR_JSON
    headers = {
        "X-Twinport-Ledger-Entry": str(done.entry),
        "X-Twinport-Refused": str(sum(done.refusals.values())),
    }
    return Response(done.body, content_type=kind, headers=headers)
