"""Create, update, their conditional forms, batch and transaction; under the store's lock."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from service.sandbox.checks import check_references, check_resource
from service.sandbox.errors import FhirError, outcome_of
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import known_types, parse_query, run_query
from service.sandbox.store import Resource, Store

ID_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")


@dataclass(frozen=True)
class Written:
    status: int
    resource: Resource


def known(kind: str) -> str:
    if kind not in known_types():
        raise FhirError(404, "not-supported", "this server does not hold that resource type")
    return kind


def check_id(identity: str) -> str:
    if not identity or len(identity) > 64 or not set(identity) <= ID_CHARACTERS:
        raise FhirError(400, "invalid", "that is not a FHIR id")
    return identity


def etag(resource: Resource) -> str:
    return f'W/"{resource["meta"]["versionId"]}"'


def same_version(header: str, resource: Resource) -> bool:
    """Weak comparison of an If-Match / If-None-Match header; the bare number is accepted too."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return resource["meta"]["versionId"] in tags or "*" in tags


class Writer:
    def __init__(self, store: Store, settings: Settings, persona: Persona, base: str) -> None:
        self.store = store
        self.settings = settings
        self.persona = persona
        self.base = base

    # -- single interactions -----------------------------------------------------------------------

    def create(self, kind: str, body: Any, if_none_exist: str | None = None) -> Written:
        resource = self._checked_for_create(kind, body)
        with self.store.lock:
            existing = self._existing(kind, if_none_exist)
            if existing is not None:
                return Written(200, existing)
            return self._insert(kind, new_id(), resource)

    def update(
        self,
        kind: str,
        identity: str,
        body: Any,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Written:
        check_id(identity)
        self.persona.allow(known(kind), "u")
        resource = self.persona.update(kind, check_resource(kind, body))
        if resource.get("id") != identity:
            raise FhirError(
                400, "invalid", "the id in the body must equal the id in the URL", f"{kind}.id"
            )
        with self.store.lock:
            current = self.store.read(kind, identity)
            self._check_if_match(current, if_match)
            _check_if_none_match(current, if_none_match)
            if current is None and not self.settings.update_as_create:
                raise FhirError(404, "not-found", f"no such {kind}; this server assigns ids itself")
            written = self._insert(kind, identity, resource)
            return Written(201 if current is None else 200, written.resource)

    def conditional_update(
        self,
        kind: str,
        query: str,
        body: Any,
        if_match: str | None = None,
        identity: str | None = None,
    ) -> Written:
        """`identity` is the id for a new resource, where a transaction has promised one already."""
        if not self.settings.conditional_update:
            raise FhirError(400, "not-supported", "conditional update is not supported")
        self.persona.allow(known(kind), "u")
        resource = self.persona.update(kind, check_resource(kind, body))
        with self.store.lock:
            current = self._only_match(kind, query)
            if current is not None:
                return self._update_match(kind, current, resource, if_match)
            if "id" in resource and not self.settings.update_as_create:
                raise FhirError(
                    400,
                    "invalid",
                    "nothing matches, and this server assigns ids itself",
                    f"{kind}.id",
                )
            return self._insert(
                kind, check_id(resource.get("id") or identity or new_id()), resource
            )

    def _update_match(
        self, kind: str, current: Resource, resource: Resource, if_match: str | None
    ) -> Written:
        if resource.get("id", current["id"]) != current["id"]:
            raise FhirError(
                400, "invalid", "the id in the body is not that of the match", f"{kind}.id"
            )
        self._check_if_match(current, if_match)
        return Written(200, self._insert(kind, current["id"], resource).resource)

    def _checked_for_create(self, kind: str, body: Any) -> Resource:
        self.persona.allow(known(kind), "c")
        resource = self.persona.create(kind, check_resource(kind, body))
        return {key: value for key, value in resource.items() if key != "id"}

    def _check_if_match(self, current: Resource | None, header: str | None) -> None:
        if header is not None and (current is None or not same_version(header, current)):
            status = self.settings.stale_version_status
            raise FhirError(status, "conflict", "the resource has another version by now")

    def _insert(self, kind: str, identity: str, resource: Resource) -> Written:
        if self.settings.check_references:
            check_references(self.store, resource)
        return Written(201, self.store.put(kind, identity, resource))

    def _existing(self, kind: str, if_none_exist: str | None) -> Resource | None:
        if if_none_exist is None:
            return None
        if not self.settings.conditional_create:
            raise FhirError(412, "not-supported", "conditional create is not supported")
        return self._only_match(kind, if_none_exist)

    def _only_match(self, kind: str, query: str) -> Resource | None:
        """The one resource a condition finds, None for none; more than one is refused."""
        matches = self.matches(kind, query)
        if len(matches) > 1:
            raise FhirError(412, "multiple-matches", "the condition matches more than one resource")
        return matches[0] if matches else None

    def matches(self, kind: str, query: str) -> list[Resource]:
        self.persona.condition(query)
        pairs = parse_qsl(query.lstrip("?"), keep_blank_values=True)
        parsed = parse_query(kind, pairs, default_count=1, max_count=1, strict=True)
        if not parsed.criteria:
            raise FhirError(412, "invalid", "a condition needs at least one search parameter")
        return run_query(self.store, parsed, self.base)

    # -- batch and transaction ---------------------------------------------------------------------

    def bundle(self, body: Any) -> dict[str, Any]:
        if not self.settings.transactions:
            raise FhirError(400, "not-supported", "batch and transaction are not supported")
        if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
            raise FhirError(400, "structure", "a Bundle is needed here", "resourceType")
        given = body.get("entry", [])
        if not isinstance(given, list):
            raise FhirError(400, "structure", "entry must be a list", "Bundle.entry")
        entries = [_Entry.read(entry, position) for position, entry in enumerate(given)]
        self.persona.transaction(given)
        if body.get("type") == "batch":
            return _response("batch-response", [self._batch_entry(entry) for entry in entries])
        if body.get("type") == "transaction":
            with self.store.all_or_nothing():
                return _response("transaction-response", self._transaction(entries))
        raise FhirError(400, "value", "the Bundle must be a batch or a transaction", "Bundle.type")

    def _batch_entry(self, entry: "_Entry") -> dict[str, Any]:
        try:
            return self._run(entry, new_id())
        except FhirError as error:
            return {"response": {"status": str(error.status), "outcome": outcome_of(error)}}

    def _transaction(self, entries: list["_Entry"]) -> list[dict[str, Any]]:
        _refuse_same_identity_twice(entries)
        ids = {entry.position: new_id() for entry in entries}
        urls = self._new_urls(entries, ids)
        for entry in entries:
            entry.resource = self._resolved(entry.resource, urls, entry.position)
        order = sorted(
            entries, key=lambda entry: (("POST", "PUT", "GET").index(entry.method), entry.position)
        )
        # References between new resources may point forward, so they are checked when all are in.
        answers = {
            entry.position: self._run(entry, ids[entry.position], late=True) for entry in order
        }
        for entry in entries:
            if self.settings.check_references and entry.method != "GET":
                check_references(self.store, entry.resource)
        return [answers[entry.position] for entry in entries]

    def _new_urls(self, entries: list["_Entry"], ids: dict[int, str]) -> dict[str, str]:
        """fullUrl → the reference it will have; conditional creates may find an existing one."""
        urls: dict[str, str] = {}
        for entry in entries:
            if not entry.full_url or entry.method == "GET":
                continue
            existing = None
            condition = entry.if_none_exist or entry.query
            if condition and not entry.identity:
                existing = self._only_match(known(entry.kind), condition)
            identity = entry.identity or (existing["id"] if existing else ids[entry.position])
            urls[entry.full_url] = f"{entry.kind}/{identity}"
        return urls

    def _resolved(self, value: Any, urls: dict[str, str], position: int, key: str = "") -> Any:
        if isinstance(value, list):
            return [self._resolved(item, urls, position, key) for item in value]
        if isinstance(value, dict):
            return {k: self._resolved(item, urls, position, k) for k, item in value.items()}
        if not isinstance(value, str):
            return value
        if key == "reference":
            return self._resolved_reference(value, urls, position)
        if key == "div":
            for old, new in urls.items():
                value = value.replace(f'"{old}"', f'"{new}"')
            return value
        return urls.get(value, value) if key in ("url", "uri", "valueUri", "valueUrl") else value

    def _resolved_reference(self, value: str, urls: dict[str, str], position: int) -> str:
        path = f"Bundle.entry[{position}].resource"
        if value in urls:
            return urls[value]
        if value.startswith("urn:"):
            raise FhirError(
                400, "not-found", "a urn: reference names no entry of this transaction", path
            )
        kind, question, query = value.partition("?")
        if question and kind in known_types():
            matches = self.matches(kind, query)
            if len(matches) != 1:
                raise FhirError(412, "multiple-matches" if matches else "not-found",
                                "a conditional reference must match once", path)  # fmt: skip
            return f"{kind}/{matches[0]['id']}"
        return value

    def _run(self, entry: "_Entry", identity: str, late: bool = False) -> dict[str, Any]:
        if entry.method == "GET":
            return self._get(entry)
        if entry.method == "PUT":
            return _entry_answer(self._put(entry, identity))
        if not late:
            return _entry_answer(self.create(entry.kind, entry.resource, entry.if_none_exist))
        resource = self._checked_for_create(entry.kind, entry.resource)
        existing = self._existing(entry.kind, entry.if_none_exist)
        if existing is not None:
            return _entry_answer(Written(200, existing))
        return _entry_answer(Written(201, self.store.put(entry.kind, identity, resource)))

    def _put(self, entry: "_Entry", identity: str) -> Written:
        if entry.identity:
            return self.update(entry.kind, entry.identity, entry.resource, entry.if_match)
        return self.conditional_update(
            entry.kind, entry.query, entry.resource, entry.if_match, identity
        )

    def _get(self, entry: "_Entry") -> dict[str, Any]:
        kind = known(entry.kind)
        if not entry.identity:
            pairs = parse_qsl(entry.query, keep_blank_values=True)
            limit = self.settings.max_count
            query = parse_query(kind, pairs, default_count=limit, max_count=limit, strict=True)
            found = run_query(self.store, query, self.base)
            bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(found),
                      "entry": [{"fullUrl": f"{self.base}/{kind}/{r['id']}", "resource": r,
                                 "search": {"mode": "match"}} for r in found]}  # fmt: skip
            return {"resource": bundle, "response": {"status": "200"}}
        resource = self.store.read(kind, entry.identity)
        if resource is None:
            raise FhirError(404, "not-found", f"no such {kind}")
        return {"resource": resource, "response": {"status": "200", "etag": etag(resource)}}


@dataclass
class _Entry:
    """One entry of a batch or transaction, its request taken apart."""

    position: int
    method: str
    kind: str
    identity: str
    query: str
    full_url: str
    resource: Any
    if_none_exist: str | None
    if_match: str | None

    @classmethod
    def read(cls, entry: Any, position: int) -> "_Entry":
        where = f"Bundle.entry[{position}]"
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict) or not isinstance(request.get("url"), str):
            raise FhirError(400, "required", "each entry needs a request with a url", where)
        texts = (entry.get("fullUrl"), request.get("ifNoneExist"), request.get("ifMatch"))
        if not all(text is None or isinstance(text, str) for text in texts):
            raise FhirError(400, "structure", "fullUrl, ifNoneExist and ifMatch are texts", where)
        path, _, query = request["url"].partition("?")
        kind, _, identity = path.strip("/").partition("/")
        method = request.get("method")
        if method not in ("POST", "PUT", "GET"):
            raise FhirError(400, "not-supported", "entries may be POST, PUT or GET", where)
        return cls(position, method, kind, identity, query, entry.get("fullUrl") or "",
                   entry.get("resource"), request.get("ifNoneExist"),
                   request.get("ifMatch"))  # fmt: skip


def new_id() -> str:
    return str(uuid.uuid4())


def _check_if_none_match(current: Resource | None, header: str | None) -> None:
    if current is not None and header is not None and same_version(header, current):
        raise FhirError(412, "conflict", "the resource exists already")


def _refuse_same_identity_twice(entries: Iterable[_Entry]) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        target = (entry.kind, entry.identity)
        if entry.method == "PUT" and entry.identity and target in seen:
            raise FhirError(
                400, "duplicate", "the same resource is written twice in one transaction"
            )
        seen.add(target)


def _entry_answer(written: Written) -> dict[str, Any]:
    resource = written.resource
    location = (
        f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"
    )
    response = {
        "status": "201 Created" if written.status == 201 else "200 OK",
        "location": location,
        "etag": etag(resource),
        "lastModified": resource["meta"]["lastUpdated"],
    }
    return {"resource": resource, "response": response}


def _response(kind: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "id": new_id(), "type": kind} | (
        {"entry": entries} if entries else {}
    )
