"""The rest of a record: visits, problems, drugs, procedures, imaging, allergies, family."""

import base64
from datetime import datetime, timedelta
from typing import Any

from service.sandbox.population import measurements as measure
from service.sandbox.population.chart import Chart, Resource, narrative, reference, stamp
from service.sandbox.population.identity import any_doctor
from service.sandbox.population.tables import coding, concept, drugs

HL7 = "http://terminology.hl7.org/CodeSystem"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
GENDER = "http://hl7.org/fhir/administrative-gender"

# -- visits ----------------------------------------------------------------------------------------


def visit_times(chart: Chart) -> list[float]:
    """When the patient was seen, in years from the anchor: regular with some spread."""
    last = _last_visit(chart)
    gap = _visit_gap(chart)
    times: list[float] = []
    t = -chart.body.record
    while t < last - 0.5 * gap:
        times.append(t)
        t += gap * chart.rng.uniform(0.85, 1.15)
    times.append(last)
    return sorted({round(t, 4) for t in times})


def _last_visit(chart: Chart) -> float:
    if died := chart.spec.get("died"):
        return -float(died) - 0.02
    return -float(chart.spec.get("stale", min(0.05, chart.body.record * 0.2)))


def _visit_gap(chart: Chart) -> float:
    if chart.body.record < 0.1:
        return 0.016
    if chart.spec.get("pregnant_weeks"):
        return 0.16
    if chart.body.age_now < 18:
        return max(0.45, chart.body.age_now / 14)
    return 0.35 if chart.body.conditions and chart.body.record < 5 else 0.5


def add_visits(chart: Chart) -> None:
    times = visit_times(chart)
    emergencies = [-float(t) for t in chart.spec.get("emergencies", [])]
    for position, t in enumerate(times):
        _add_visit(chart, t, _visit_kind(chart, t), laboratory=position % 2 == 0 or t == times[-1])
    for t in emergencies:
        _add_visit(chart, t, "visit-emergency", laboratory=True)


def _visit_kind(chart: Chart, t: float) -> str:
    if chart.spec.get("pregnant_weeks") and chart.body.weeks_pregnant(t) > 5:
        return "visit-prenatal"
    return "visit-follow-up" if any(c.active(t) for c in chart.body.conditions) else "visit-checkup"


def _add_visit(chart: Chart, t: float, kind: str, laboratory: bool) -> None:
    start = chart.moment(t)
    encounter = add_encounter(chart, start, kind)
    at = start + timedelta(minutes=10)
    measure.add_vital_signs(chart, t, at, encounter)
    measure.add_smoking(chart, t, at, encounter)
    measure.add_pregnancy(chart, t, at, encounter)
    if laboratory and chart.body.age_now > 1:
        measure.add_laboratory(chart, t, at + timedelta(minutes=25), encounter)


def add_encounter(chart: Chart, start: datetime, kind: str) -> Resource:
    place = {"visit-emergency": "EMER", "visit-inpatient": "IMP"}.get(kind, "AMB")
    text = f"{chart.full_name} was seen by {any_doctor(chart)['display']}"
    return chart.add("Encounter", start, {
        "text": narrative(text),
        "identifier": [chart.number("visits", "V", 9)],
        "status": "finished",
        "class": {"system": f"{HL7}/v3-ActCode", "code": place},
        "type": [concept(kind)],
        "subject": chart.subject,
        "participant": [{"individual": any_doctor(chart)}],
        "period": {"start": stamp(start), "end": stamp(start + timedelta(minutes=40))},
        "location": [{"location": {"reference": "Location/clinic-a", "display": "Clinic A"}}],
        "serviceProvider": {"reference": "Organization/example-hospital"},
    })  # fmt: skip


# -- problems and drugs ----------------------------------------------------------------------------


def add_conditions(chart: Chart) -> None:
    for course in chart.body.conditions:
        onset = chart.moment(course.start)
        ended = course.end is not None
        body: Resource = {
            "clinicalStatus": status("condition-clinical", "resolved" if ended else "active"),
            "verificationStatus": status("condition-ver-status", "confirmed"),
            "category": [
                {"coding": [{"system": f"{HL7}/condition-category", "code": "problem-list-item"}]}
            ],
            "code": concept(course.key),
            "subject": chart.subject,
            **chart.encounter_near(onset),
            "onsetDateTime": stamp(onset),
            "recordedDate": stamp(onset + timedelta(hours=1)),
            "recorder": any_doctor(chart),
        }
        if course.end is not None:
            body["abatementDateTime"] = stamp(chart.moment(course.end))
        if chart.rng.random() < 0.4:
            body["note"] = [
                {"text": f"Discussed with {chart.given}; wife reachable at 555-555-0173."}
            ]
        chart.add("Condition", onset, body)


def status(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{HL7}/{system}", "code": code}]}


def add_drugs(chart: Chart) -> None:
    for course in chart.body.drugs:
        at = chart.moment(course.start)
        dose = drugs()[course.key]["dose"]
        chart.add("MedicationRequest", at, {
            "identifier": [chart.number("rx", "RX", 7)],
            "status": "active" if course.end is None else "stopped",
            "intent": "order",
            **_medication(chart, course.key),
            "subject": chart.subject,
            **chart.encounter_near(at),
            "authoredOn": stamp(at),
            "requester": any_doctor(chart),
            "dosageInstruction": [{"text": dose, "patientInstruction": f"{chart.given}: {dose}"}],
        })  # fmt: skip


def _medication(chart: Chart, key: str) -> Resource:
    if chart.wants("contained-medication"):
        contained = {"resourceType": "Medication", "id": "m1", "code": concept(key)}
        return {"contained": [contained], "medicationReference": {"reference": "#m1"}}
    if key == "atorvastatin":
        return {"medicationReference": {"reference": "Medication/stock-atorvastatin"}}
    return {"medicationCodeableConcept": concept(key)}


# -- procedures, imaging ---------------------------------------------------------------------------


def add_procedures(chart: Chart) -> None:
    for key, years in chart.spec.get("procedures", []):
        at = chart.moment(-float(years))
        chart.add("Procedure", at, {
            "status": "completed",
            "code": concept(key),
            "subject": chart.subject,
            **chart.encounter_near(at),
            "performedPeriod": {"start": stamp(at), "end": stamp(at + timedelta(minutes=45))},
            "performer": [{"actor": any_doctor(chart)}],
            "note": [{"text": f"{chart.full_name} tolerated the procedure well."}],
        })  # fmt: skip
        _add_procedure_result(chart, key, -float(years), at)


def _add_procedure_result(chart: Chart, key: str, t: float, at: datetime) -> None:
    if key == "echocardiogram":
        measure.add_number(chart, "lvef", chart.body.ejection_fraction(t), at, None)
        if chart.body.has("heart-failure", t + 0.05):
            measure.add_number(chart, "nt-probnp", chart.body.nt_probnp(t), at, None)
    if key == "spirometry":
        measure.add_number(
            chart, "fev1-fvc-ratio", 61 + 1.1 * t + chart.rng.uniform(-2, 2), at, None
        )


# modality, SOP class, procedure, body site, instances
STUDIES: dict[str, tuple[str, str, str | None, str, int]] = {
    "chest-xray": ("DX", "1.2.840.10008.5.1.4.1.1.1.1", "study-chest-xray", "site-thorax", 2),
    "chest-ct": ("CT", "1.2.840.10008.5.1.4.1.1.2", "study-chest-ct", "site-thorax", 124),
    "echo": ("US", "1.2.840.10008.5.1.4.1.1.3.1", "study-echo", "site-heart", 18),
    "brain-mr": ("MR", "1.2.840.10008.5.1.4.1.1.4", "study-brain-mr", "site-brain", 96),
    "mammogram": ("MG", "1.2.840.10008.5.1.4.1.1.1.2", "study-mammogram", "site-breast", 4),
    "kidney-us": ("US", "1.2.840.10008.5.1.4.1.1.6.1", None, "site-kidney", 8),
}


def add_imaging(chart: Chart) -> None:
    for key, years in chart.spec.get("imaging", []):
        at = chart.moment(-float(years))
        modality, sop_class, procedure, site, instances = STUDIES[key]
        # Real archives put the acquisition time into their UIDs; 2.999 is the arc for examples.
        root = f"2.999.117.{int(at.timestamp() * 1000)}"
        series = {
            "uid": f"{root}.1", "number": 1,
            "modality": {"system": DICOM, "code": modality},
            "description": f"{chart.family.upper()}^{chart.given.upper()}",
            "numberOfInstances": instances,
            "bodySite": coding(site),
            "started": stamp(at),
            "instance": [{
                "uid": f"{root}.1.1", "number": 1, "title": f"Image of {chart.full_name}",
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{sop_class}"},
            }],
        }  # fmt: skip
        chart.add("ImagingStudy", at, {
            "identifier": [
                {"system": "urn:dicom:uid", "value": f"urn:oid:{root}"},
                chart.number("accession", "IMG", 7),
            ],
            "status": "available",
            "subject": chart.subject,
            "started": stamp(at),
            "endpoint": [{"reference": "Endpoint/pacs"}],
            "numberOfSeries": 1,
            "numberOfInstances": instances,
            **({"procedureCode": [concept(procedure)]} if procedure else {}),
            "series": [series],
        })  # fmt: skip


def add_tumour(chart: Chart) -> None:
    for years, size in chart.spec.get("tumour", []):
        at = chart.moment(-float(years))
        measured = measure.add_number(chart, "tumour-size", float(size), at, None)
        study = chart.nearest("ImagingStudy", "started", at)
        if study is not None:
            measured["derivedFrom"] = [reference(study)]


# -- the rest --------------------------------------------------------------------------------------


def add_allergies(chart: Chart) -> None:
    for key in chart.spec.get("allergies", []):
        at = chart.moment(-chart.body.record * 0.6)
        chart.add("AllergyIntolerance", at, {
            "clinicalStatus": status("allergyintolerance-clinical", "active"),
            "verificationStatus": status("allergyintolerance-verification", "confirmed"),
            "category": ["food" if key == "allergy-shellfish" else "environment"],
            "code": concept(key),
            "patient": chart.subject,
            "recordedDate": stamp(at),
            "recorder": any_doctor(chart),
        })  # fmt: skip


RELATIVES = {"father": ("FTH", "Father", "male"), "mother": ("MTH", "Mother", "female")}


def add_family(chart: Chart) -> None:
    for who, key, age in chart.spec.get("family", []):
        role, label, sex = RELATIVES[who]
        at = chart.moment(-chart.body.record * 0.8)
        onset = {"value": age, "unit": "years", "system": measure.UCUM, "code": "a"}
        chart.add("FamilyMemberHistory", at, {
            "status": "completed",
            "patient": chart.subject,
            "date": at.date().isoformat(),
            "name": f"{chart.rng.choice(('Padraig', 'Nnamdi', 'Ilse', 'Rosa'))} {chart.family}",
            "relationship": {**status("v3-RoleCode", role), "text": label},
            "sex": {"coding": [{"system": GENDER, "code": sex}]},
            "condition": [{"code": concept(key), "onsetAge": onset}],
        })  # fmt: skip


def add_vaccines(chart: Chart) -> None:
    items: list[list[Any]] = list(chart.spec.get("vaccines", []))
    if chart.body.age_now >= 65 and not chart.spec.get("died"):
        items.append(["influenza-vaccine", 0.55])
    for key, years in items:
        at = chart.moment(-float(years))
        chart.add("Immunization", at, {
            "status": "completed",
            "vaccineCode": concept(key),
            "patient": chart.subject,
            "occurrenceDateTime": stamp(at),
            "primarySource": True,
            "lotNumber": f"LOT{chart.rng.randrange(10_000, 99_999)}",
            "performer": [{"actor": any_doctor(chart)}],
        })  # fmt: skip


def add_device(chart: Chart) -> None:
    """A blood pressure monitor at home: serial number and owner in one resource."""
    at = chart.moment(-chart.body.record * 0.9)
    owner = f"{chart.given}'s blood pressure monitor"
    chart.add("Device", at, {
        "identifier": [chart.number("devices", "BPM-", 6)],
        "status": "active",
        "manufacturer": "Example Instruments",
        "serialNumber": f"SN{chart.rng.randrange(10**9, 10**10)}",
        "deviceName": [{"name": owner, "type": "user-friendly-name"}],
        "patient": chart.subject,
    })  # fmt: skip


def add_letter(chart: Chart) -> None:
    """A letter as every record has them: names, dates and telephone numbers in free text."""
    at = chart.moment(-min(0.3, chart.body.record * 0.5) - float(chart.spec.get("died", 0)))
    age = int(chart.body.age_now)
    words = (
        f"{at:%d %B %Y}. Dear colleague, thank you for seeing {chart.full_name} "
        f"(record {chart.mrn}), a {age} year-old patient. Questions: (555) 555-0142."
    )
    attachment = {
        "contentType": "text/plain; charset=utf-8",
        "data": base64.b64encode(words.encode()).decode(),
        "title": f"Letter about {chart.family}",
    }
    chart.add("DocumentReference", at, {
        "masterIdentifier": chart.number("documents", "D", 8),
        "status": "current",
        "type": {"text": "Letter"},
        "subject": chart.subject,
        "date": at.isoformat(timespec="milliseconds"),
        "author": [any_doctor(chart)],
        "description": f"Letter about {chart.full_name}",
        "content": [{"attachment": attachment}],
    })  # fmt: skip
