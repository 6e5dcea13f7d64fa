"""Oracle Health (Cerner Millennium), R4.

Sources: [D] github.com/cerner/fhir.cerner.com, the documentation's source; [CS] CapabilityStatement
of the secure sandbox, August 2026; [AI] docs.oracle.com, change log of the newer platform.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from service.sandbox.errors import FhirError
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Pairs, Persona, Settings
from service.sandbox.search import Query, parameter_table

LARGEST_PAGE = 200  # [D] Observation: default 50, most 200


class Oracle(Persona):
    name = "oracle"
    prefix = "/r4/ec2458f2-1e24-41c8-b71b-0e701af7583d"  # [D] tenant of the public sandbox
    page_parameter = "-pageContext"
    exports = Manners(
        levels=("patient", "group"),  # [CS] Group export; Patient export since 2026
        methods=("GET",),  # [D] bulk data
        guide="1.0.0",
        status="bulk-export/jobs/{job}",  # [D]
        files="bulk-export/files/{file}",  # [D]
        redirect=True,  # [D] 307 to a pre-signed link of another host, gzip, at most 50 MB
        progress="in-progress",  # [D]
        retry_after="600",  # [D]
        repeated_types=False,  # [D] one comma-separated _type
        jobs_per_client=1,  # [D] 429 while another one is running
        lifetime_seconds=30 * 86400,  # [D]
    )
    # [CS] those of its 44 types that the sandbox holds. Not there: RiskAssessment, ImagingStudy,
    # MedicationStatement, Medication.
    offers = {  # noqa: RUF012 - a constant
        "AllergyIntolerance": "crsu",
        "Condition": "crsu",
        "Device": "rs",
        "DiagnosticReport": "crs",
        "DocumentReference": "crsu",
        "Encounter": "crs",
        "FamilyMemberHistory": "crsu",
        "Group": "r",
        "Immunization": "crsu",
        "Location": "rs",
        "MedicationRequest": "crs",
        "Observation": "crsu",
        "Organization": "crs",
        "Patient": "crs",
        "Practitioner": "crs",
        "Procedure": "crs",
        "Provenance": "crs",
    }

    def settings(self, given: Settings) -> Settings:
        return replace(
            given,
            default_count=50,
            max_count=LARGEST_PAGE,
            strict_search=True,
            stale_version_status=409,  # [D] a stale version is a conflict
            # [CS] system level: batch alone; no conditional writes, no update as create.
            conditional_create=False,
            conditional_update=False,
            transactions=False,
            everything=False,
        )

    def capability(self, statement: dict[str, Any]) -> dict[str, Any]:
        rest = super().capability(statement)["rest"][0]
        rest["interaction"] = [{"code": "batch"}]
        for row in rest["resource"]:
            row.pop("searchInclude", None)  # [CS] none for the clinical types
        return statement

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        names = {name for name, _ in pairs}
        if "_include" in names or "_sort" in names:
            raise FhirError(400, "invalid", "parameter not supported")
        if kind == "Observation" and not names & {"_id", "patient", "subject"}:
            raise FhirError(400, "required", "no supported search parameters provided")  # [D]
        if "_id" in names and names - {"_id", "_count", "_revinclude"}:
            raise FhirError(400, "invalid", "_id goes alone")  # [D]
        return pairs

    def search(self, query: Query) -> Query:
        # [D] results come newest first.
        if query.kind == "Observation" and "date" in parameter_table()[query.kind]:
            query.sort = ["-date"]
        return query

    def next_link(self, base: str, query: Query, token: str) -> str:
        # [D] "important to follow these Link header values instead of constructing your own".
        asked = [*query.criteria, ("-pageContext", token), ("-pageDirection", "NEXT")]
        return f"{base}/{query.kind}?{urlencode(asked)}"

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        del bundle["total"]  # seen in stored answers: mostly absent
        entries = bundle.get("entry", [])
        if len(bundle["link"]) > 1 and len(entries) > 1:
            # [D] the same resource may come on two pages.
            bundle["entry"] = [*entries, entries[0]]
        return bundle

    def respond(self, response: Response) -> Response:
        response.headers["X-Request-Id"] = "00000000-0000-4000-8000-000000000000"
        if request.method in ("POST", "PUT") and response.status_code in (200, 201):
            # [D] an empty body, called HTML; id and version in the headers.
            response.set_data(b"")
            response.content_type = "text/html"
        elif response.is_json or "fhir" in (response.content_type or ""):
            response.content_type = "application/json+fhir"  # [D]
        return response
