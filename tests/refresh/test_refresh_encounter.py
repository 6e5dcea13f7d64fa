"""The results name the encounter in which they were asked for: only one of this very patient."""

from refresh_clinic import PATIENT, Clinic

from service.fhir.http import FhirClient
from service.pipeline.make import Wish
from service.pipeline.pulling import pull
from service.pipeline.runtime import open_runtime


def test_the_encounter_is_named_where_it_is_the_patients(clinic: Clinic) -> None:
    visits = [r for r in clinic.sandbox.resources("Encounter") if PATIENT in str(r["subject"])]
    own = f"Encounter/{visits[0]['id']}"
    runtime = open_runtime()
    with FhirClient(runtime.server("ehr")) as client:
        record = pull(client, PATIENT, runtime.database)
    for asked, named in ((own, own), ("Encounter/of-somebody-else", None), ("", None)):
        wish = Wish(runtime.policy(), runtime.models(), "run", encounter=asked)
        parcels = runtime.results(runtime.maker.make(record, wish))
        results = [r for one in parcels for r in one.resources if "subject" in r]
        assert {r["resourceType"] for r in results} == {"RiskAssessment", "Observation"}
        found = {r.get("encounter", {}).get("reference") for r in results}
        assert found == {named}
    runtime.close()
