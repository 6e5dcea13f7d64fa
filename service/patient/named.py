"""The summary with the patient's own name and dates: made for their own hands, kept nowhere.

Who they are is asked of the clinic's server at that moment; the dates come back by the sealed
epoch. Nothing in it leads to the twin: whoever sees this copy cannot tell by it whose another is.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from mappings.to_fhir.relative import OWN, RELATIVE
from mappings.to_fhir.twin_bundle import ips_bundle
from privacy.times import DAYS, Calendar, spelled
from privacy.vault import SubjectRecord, Vault
from service.fhir.errors import FhirError
from service.fhir.http import FhirClient
from service.fhir.servers import ServerConfig, from_config
from service.pipeline.runtime import Runtime
from service.stores.database import utc_now
from service.stores.runs import RunStore
from service.stores.twins import TwinStore
from service.stores.vault import SqlVaultStore
from twin_engine.document import read

Json = dict[str, Any]
Document = Mapping[str, Any]

PATIENCE = 20  # seconds for one resource; somebody waits at a page
TITLE = "Patient summary with a name and dates, for the patient's own hands"
# What a Patient resource says of who somebody is; nothing else of it is taken over.
WHO = ("identifier", "name", "telecom", "gender", "birthDate", "address")
URI = "urn:ietf:rfc:3986"
RESTRICTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "code": "R",
    "display": "restricted",
}


class NoNameError(Exception):
    """Why there is no such summary now: the name of a sentence of the patient's pages."""


@dataclass(frozen=True)
class Named:
    """For one installation. Has no memory, and writes nothing down."""

    runtime: Runtime

    def summary(self, twin: str) -> bytes:
        """Only ever for the patient themself: whoever calls has made sure of that."""
        stored = TwinStore(self.runtime.database).get(twin)
        record = next(self._behind(twin), None)
        if stored is None or record is None:
            raise NoNameError("erased")
        patient = _asked(self._server(record.base), record.patient)
        document = read(stored.payload).document
        written = utc_now().replace(microsecond=0)
        runs, about = RunStore(self.runtime.database), stored.about
        days = runs.days_since(twin, about.version, about.created)
        cards = self.runtime.versions.cards(document)
        bundle = ips_bundle(document, cards, written, days)
        return orjson.dumps(named(bundle, patient, document, record.epoch, written))

    def _behind(self, twin: str) -> Iterator[SubjectRecord]:
        """Sealed records are named by patient, not by twin: each is opened until it is found."""
        vault: Vault = self.runtime.vault
        for index in SqlVaultStore(self.runtime.database).indexes():
            found = vault.load_at(index)
            if found is not None and found[0].twin == twin:
                yield found[0]

    def _server(self, base: str) -> ServerConfig:
        config = self.runtime.config
        for name, entry in config.servers.items():
            server = from_config(name, entry, config.limits)
            if server.base_url == base.rstrip("/"):
                limits = replace(server.limits, budget_seconds=PATIENCE, tries=1)
                return replace(server, limits=limits)
        raise NoNameError("no_server")


def _asked(server: ServerConfig, reference: str) -> Json:
    kind, _, identity = reference.partition("/")
    try:
        with FhirClient(server) as client:
            found = client.read(kind, identity).resource
    except FhirError:
        raise NoNameError("no_answer") from None
    if found is None or found.get("resourceType") != kind or found.get("id") != identity:
        raise NoNameError("no_answer")  # somebody else's name would be worse than none
    return found


# -- from pseudonymous to named --------------------------------------------------------------------


def named(
    bundle: Json, patient: Mapping[str, Any], document: Document, epoch: datetime, written: datetime
) -> Json:
    """The pseudonymous summary with a name and dates, and without a pseudonym."""
    head = document["twin"]
    now = epoch + timedelta(days=head["now"] / DAYS[head["timeUnit"]])
    calendar = Calendar(head["timeUnit"], epoch, head["now"], now.date())
    fresh = {entry["fullUrl"]: f"urn:uuid:{uuid.uuid4()}" for entry in bundle["entry"]}
    made = _dated(_renamed(bundle, fresh), calendar, head["now"])
    resources = {one["resource"]["resourceType"]: one["resource"] for one in made["entry"]}
    _tell_who(resources["Patient"], patient)
    resources["Provenance"].pop("_occurredDateTime")
    resources["Provenance"].pop("_recorded")
    resources["Provenance"] |= {
        "occurredDateTime": now.date().isoformat(),
        "recorded": f"{written.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    resources["Composition"] |= {"title": TITLE, "confidentiality": RESTRICTED["code"]}
    own = f"urn:uuid:{uuid.uuid4()}"
    identifier = {"system": URI, "value": own}
    return {**made, "id": own.rpartition(":")[2], "identifier": identifier, "meta": _labels()}


def _labels() -> Json:
    return {"security": [RESTRICTED]}


def _tell_who(made: Json, patient: Mapping[str, Any]) -> None:
    """In place of what was masked. What the server does not say stays so marked."""
    told = {name: _plain(patient[name]) for name in WHO if name in patient}
    if "birthDate" in told:
        made.pop("_birthDate")
        made.pop("extension", None)  # the age at the twin's now: there is a date of birth
    made |= {**told, "meta": _labels()}


def _plain(node: Any) -> Any:
    """Without extensions, and without references: a document holds all it refers to."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {k: _plain(v) for k, v in node.items() if k not in ("id", "extension", "reference")}
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def _renamed(node: Any, fresh: Mapping[str, str]) -> Any:
    """New ids for all, and no identifier of ours: those are the pseudonyms."""
    if isinstance(node, list):
        return [_renamed(item, fresh) for item in node]
    if isinstance(node, str):
        return fresh.get(node, node)
    if not isinstance(node, dict):
        return node
    made = {
        key: _renamed(value, fresh)
        for key, value in node.items()
        if not (key == "identifier" and isinstance(value, list))
    }
    if "resourceType" in node and (url := fresh.get(f"urn:uuid:{node.get('id')}")):
        made["id"] = url.removeprefix("urn:uuid:")
    return made


def _dated(node: Any, calendar: Calendar, now: int) -> Any:
    """Every relative time as the date that it is."""
    if isinstance(node, list):
        return [_dated(item, calendar, now) for item in node]
    if not isinstance(node, dict):
        return node
    made: Json = {}
    for key, value in node.items():
        date = _date(value, calendar, now) if key.startswith("_") else None
        if date is None:
            made[key] = _dated(value, calendar, now)
        else:
            made.pop(key[1:], None)
            made[key[1:].replace("String", "DateTime")] = date
    return made


def _date(element: Any, calendar: Calendar, now: int) -> str | None:
    if not isinstance(element, dict):
        return None
    told = {one["url"]: one for one in element.get("extension", ())}
    if RELATIVE not in told:
        return None
    parts = {part["url"]: part for part in told[RELATIVE]["extension"]}
    away = parts["offset"]["valueDuration"]["value"]
    sign = -1 if parts["relationship"]["valueCode"] == "before" else 1
    precision = told.get(f"{OWN}:precision", {}).get("valueCode", "day")
    return spelled(calendar.moment(now + sign * away, precision), "dateTime")
