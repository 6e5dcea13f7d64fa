"""Creates resources the way this server makes safest: one transaction, or one after the other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.capability import Capability
from service.fhir.errors import (
    Forbidden,
    Invalid,
    NotFhir,
    NotFound,
    NotSupported,
    Unprocessable,
)
from service.fhir.http import Answer, FhirClient, Resource
from service.fhir.references import plain_reference
from service.fhir.wanted import Wanted, resolved

# A refusal that changed nothing. Of a transaction: single writes may still work, or tell which one
# is at fault. Of a companion: the result is written without it.
_SAID_NO = (Forbidden, Invalid, NotFound, NotSupported, Unprocessable)


@dataclass(slots=True)
class Sent:
    """What came of it: urn:uuid → `Type/id`."""

    created: dict[str, str] = field(default_factory=dict)
    existing: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """urn:uuid → code of the refusal"""
    strategy: str = ""


class Sender:
    def __init__(self, client: FhirClient, capability: Capability) -> None:
        self._client, self._capability = client, capability

    def send(
        self,
        missing: list[Wanted],
        known: Mapping[str, str],
        everything: list[Wanted],
        sent: Sent,
    ) -> None:
        """Create what is missing; `known` are those already there. `sent` is filled as it goes, so
        that what was done before an error is not forgotten."""
        if self._fits_transaction(missing):
            try:
                self._transaction(missing, known, sent)
            except _SAID_NO:
                pass
            else:
                return
        for wanted in missing:
            self._single(wanted, dict(known), everything, sent)

    def _fits_transaction(self, missing: list[Wanted]) -> bool:
        limits = self._client.server.limits
        return (
            self._capability.transaction
            and len(missing) > 1
            and len(missing) <= min(limits.transaction_entries, limits.conditional_entries)
            and all(self._capability.can(w.type, "create") for w in missing)
        )

    def _transaction(self, missing: list[Wanted], known: Mapping[str, str], sent: Sent) -> None:
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [self._entry(wanted, known) for wanted in missing],
        }
        answer = self._client.write("POST", (), bundle)
        results = _responses(answer.resource)
        if len(results) != len(missing):
            raise NotFhir("POST transaction", status=answer.status)
        sent.strategy = "transaction"
        for wanted, result in zip(missing, results, strict=True):
            reference = self._placed(str(result.get("location", "")), wanted.type)
            created = str(result.get("status", "")).startswith("201")
            (sent.created if created else sent.existing)[wanted.url] = reference or ""

    def _entry(self, wanted: Wanted, known: Mapping[str, str]) -> Resource:
        request = {"method": "POST", "url": wanted.type}
        if wanted.identifier is not None:
            request["ifNoneExist"] = wanted.condition
        body = resolved(wanted, known, ())
        return {"fullUrl": wanted.url, "resource": body, "request": request}

    def _single(
        self, wanted: Wanted, known: dict[str, str], everything: list[Wanted], sent: Sent
    ) -> None:
        known |= sent.existing | sent.created
        if not self._capability.can(wanted.type, "create"):
            if not wanted.is_companion:
                raise NotSupported(f"POST {wanted.type}")
            sent.skipped[wanted.url] = NotSupported.code
            return
        body = resolved(wanted, known, everything)
        try:
            answer, strategy = self._create(wanted, body)
        except _SAID_NO as error:
            if not wanted.is_companion:
                raise
            sent.skipped[wanted.url] = error.code
            return
        if not wanted.is_companion or not sent.strategy:
            sent.strategy = strategy
        reference = self._where(answer, wanted.type)
        (sent.created if answer.status == 201 else sent.existing)[wanted.url] = reference or ""

    def _create(self, wanted: Wanted, body: Resource) -> tuple[Answer, str]:
        able = self._capability.of(wanted.type)
        if wanted.identifier is None:
            return self._client.write("POST", (wanted.type,), body), "create"
        if able.update_create and self._capability.can(wanted.type, "update"):
            own = wanted.own_id
            answer = self._client.write(
                "PUT", (wanted.type, own), body | {"id": own}, condition={"If-None-Match": "*"}
            )
            return answer, "own-id"
        if able.conditional_create:
            condition = {"If-None-Exist": wanted.condition}
            answer = self._client.write("POST", (wanted.type,), body, condition=condition)
            return answer, "conditional-create"
        if able.conditional_update and self._capability.can(wanted.type, "update"):
            # Where nothing matches it creates; what came between is our own, with the same content.
            answer = self._client.write("PUT", (wanted.type,), body, query=wanted.condition)
            return answer, "conditional-update"
        return self._client.write("POST", (wanted.type,), body), "search-then-create"

    def _where(self, answer: Answer, kind: str) -> str | None:
        """The reference of what was created: from Location, else from the body."""
        location = answer.headers.get("Location") or answer.headers.get("Content-Location") or ""
        body = answer.resource or {}
        if body.get("resourceType") == kind and isinstance(body.get("id"), str):
            return f"{kind}/{body['id']}"
        return self._placed(location, kind)

    def _placed(self, location: str, kind: str) -> str | None:
        """`Type/id` of a Location, whether relative, absolute, or below another spelling of us."""
        found = plain_reference(location, self._client.server.bases)
        tail = [part for part in location.split("/_history/")[0].split("/") if part][-2:]
        found = found or plain_reference("/".join(tail), ())
        return found if found and found.startswith(f"{kind}/") else None


def _responses(bundle: Any) -> list[Resource]:
    entries: Iterable[Any] = bundle.get("entry", ()) if isinstance(bundle, dict) else ()
    return [e.get("response") or {} for e in entries if isinstance(e, dict)]
