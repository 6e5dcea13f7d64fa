"""Epic, R4.

Sources: [CS] CapabilityStatement of the public sandbox (software "Epic", May 2026), stored at
github.com/api-evangelist/epic-systems, fhir/epic-fhir-r4-capabilitystatement.json; [YPHR]
github.com/jwilleke/yourphr#754; [DIBBS] github.com/CDCgov/dibbs-query-connector#966; [SF]
github.com/smart-on-fhir/smart-fetch; [EC] Epic's public list of error codes, fhir.epic.com.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Pairs, Persona, Settings
from service.sandbox.search import Query, parameter_table

CODES = "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369"  # [EC]
# [SF] filtering.py: these categories of the standard end in an error here (June 2025).
NOT_A_CATEGORY = frozenset({"procedure", "therapy", "activity"})


class Epic(Persona):
    name = "epic"
    prefix = "/api/FHIR/R4"  # [CS] the sandbox's path below the instance
    page_parameter = "sessionID"
    exports = Manners(
        # [CS] group-export on Group, and no other export; the id of a Group is given by the site.
        levels=("group",),
        methods=("GET",),
        guide="1.0.0",
        files="Binary/{file}",  # with the token
        # [SF] one export for each client and group, until it is deleted.
        jobs_per_client=1,
        held_until_deleted=True,
    )
    # [CS] of the 59 types those that the sandbox holds. Not among the 59: MedicationStatement,
    # RiskAssessment. Provenance cannot be searched, Device not be created.
    offers = {  # noqa: RUF012 - a constant
        "AllergyIntolerance": "crs",
        "Condition": "crs",
        "Device": "rs",
        "DiagnosticReport": "rsu",
        "DocumentReference": "crsu",
        "Encounter": "rs",
        "Endpoint": "rs",
        "FamilyMemberHistory": "rs",
        "Group": "rs",
        "ImagingStudy": "rs",
        "Immunization": "rs",
        "Location": "rs",
        "Medication": "rs",
        "MedicationRequest": "rs",
        "Observation": "crsu",
        "Organization": "rs",
        "Patient": "crs",
        "Practitioner": "rs",
        "Procedure": "crsu",
        "Provenance": "r",
    }

    def settings(self, given: Settings) -> Settings:
        # [CS] conditionalCreate, conditionalUpdate, updateCreate false everywhere; no batch, no
        # transaction, no $everything.
        return replace(
            given,
            conditional_create=False,
            conditional_update=False,
            transactions=False,
            everything=False,
        )

    def capability(self, statement: dict[str, Any]) -> dict[str, Any]:
        rows = super().capability(statement)["rest"][0]["resource"]
        for row in rows:
            row["searchInclude"] = ["*"]  # [CS] on each searchable type
        return statement

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        names = {name for name, _ in pairs}
        if "_id" in names:
            # [CS] `_id` can be combined with these; "all others will be ignored".
            return [(n, v) for n, v in pairs if n in ("_id", "_count", "_include")]
        if kind == "Observation":
            self._check_category(names, dict(pairs))
        # [CS] lists no _sort, _total or _summary; [EC] 4122: an unknown parameter is ignored.
        known = {*parameter_table()[kind], "_count", "_include"} - {"_lastUpdated"}
        return [(n, v) for n, v in pairs if n in known]

    def _check_category(self, names: set[str], values: dict[str, str]) -> None:
        if not names & {"category", "code"}:
            # [YPHR] "labs and vital signs never arrive": 400, `required`; [EC] 59108.
            raise FhirError(400, "required", "59108")
        if values.get("category", "").rsplit("|", 1)[-1] in NOT_A_CATEGORY:
            raise FhirError(400, "value", "59111")

    def posted(self, query: Pairs, form: Pairs) -> Pairs:
        # [DIBBS] POST _search is answered with 404 or reads only one of the two places.
        raise FhirError(404, "not-found", "4100")

    def next_link(self, base: str, query: Query, token: str) -> str:
        # Seen in stored sandbox answers: the session alone, repeating none of the query.
        return f"{base}/{query.kind}?{urlencode([('sessionID', token)])}"

    def expired(self) -> FhirError:
        return FhirError(400, "processing", "4113")  # [EC]

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        entries = bundle.setdefault("entry", [])
        # Seen in stored sandbox answers: with _count, total is the number on this page.
        bundle["total"] = len(entries)
        if not entries:
            # [EC] 4101: an empty result is 200 with one entry, an outcome.
            note = outcome("processing", "4101", "warning")
            entries.append({"resource": note, "search": {"mode": "outcome"}})
        return bundle

    def error(self, error: FhirError) -> dict[str, Any]:
        body = outcome(error.code, error.text, "fatal")
        body["issue"][0]["details"]["coding"] = [{"system": CODES, "code": error.text}]
        return body
