"""Who the patient is, in every place where real records say so. All invented and recognisably so:
555 telephone numbers, 999 social security numbers, example.org addresses, invented streets."""

from typing import Any

from service.sandbox.population.chart import EHR, Chart, Resource, narrative
from service.sandbox.population.tables import concept, rows

EXTENSION = "http://hl7.org/fhir/StructureDefinition/"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
MRN_SYSTEM = f"{EHR}/mrn"
NPI = "http://hl7.org/fhir/sid/us-npi"

MOTHERS = ("Abernathy", "Castañeda", "O'Dowd", "Fröhlich", "Nakamura", "Sørensen", "D'Souza")
DOCTORS = (
    ("dr-1", "Beatriz", "Fuentes-Ortega"),
    ("dr-2", "Seán", "O'Malley"),
    ("dr-3", "Yuki", "Tanabe"),
)


def _identifier(kind: str, label: str, system: str, value: str) -> Resource:
    return {
        "use": "usual" if kind == "MR" else "official",
        "type": {"coding": [{"system": V2_0203, "code": kind}], "text": label},
        "system": system,
        "value": value,
    }


def _identifiers(chart: Chart) -> list[Resource]:
    rng = chart.rng
    mrn = _identifier("MR", "Medical record number", MRN_SYSTEM, chart.mrn)
    mrn["assigner"] = {
        "reference": "Organization/example-hospital",
        "display": "Example General Hospital",
    }
    ssn = f"999-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"
    found = [
        mrn,
        _identifier("SS", "Social security number", "http://hl7.org/fhir/sid/us-ssn", ssn),
    ]
    if chart.body.age_now >= 18:
        licence = f"S999{rng.randrange(10_000, 99_999)}"
        passport = f"X{rng.randrange(10_000_000, 99_999_999)}X"
        found += [
            _identifier("DL", "Driver's licence", "urn:oid:2.16.840.1.113883.4.3.25", licence),
            _identifier("PPN", "Passport number", f"{EHR}/passport", passport),
        ]
    return found


def _telecom(chart: Chart) -> list[Resource]:
    number = f"(555) 555-{chart.rng.randrange(100, 199):04d}"
    local = chart.given.split()[0].lower() + "." + chart.mrn[:3]
    return [
        {"system": "phone", "value": number, "use": "home"},
        {"system": "email", "value": f"{local}@mail.example.org"},
    ]


def _address(chart: Chart) -> Resource:
    place = rows("places.csv")[chart.rng.randrange(len(rows("places.csv")))]
    point = [
        {"url": "latitude", "valueDecimal": float(place["latitude"])},
        {"url": "longitude", "valueDecimal": float(place["longitude"])},
    ]
    return {
        "extension": [{"url": f"{EXTENSION}geolocation", "extension": point}],
        "use": "home",
        "line": [place["street"]],
        "city": place["city"],
        "state": place["state"],
        "postalCode": place["zip"],
        "country": "US",
    }


def _extensions(chart: Chart, address: Resource) -> list[Resource]:
    mother = f"{chart.rng.choice(('Ana', 'Ruth', 'Mei', 'Olga'))} {chart.rng.choice(MOTHERS)}"
    found: list[Resource] = [
        {"url": f"{EXTENSION}patient-mothersMaidenName", "valueString": mother},
        {
            "url": f"{EXTENSION}patient-birthPlace",
            "valueAddress": {"city": address["city"], "state": address["state"], "country": "US"},
        },
    ]
    if chart.spec["sex"] in ("female", "male"):
        sex = chart.spec["sex"][0].upper()
        found.append({"url": f"{US_CORE}us-core-birthsex", "valueCode": sex})
    return found


def add_patient(chart: Chart) -> None:
    address = _address(chart)
    birth = chart.birth.isoformat()
    birth_time = f"{birth}T{chart.rng.randrange(24):02d}:{chart.rng.randrange(60):02d}:00-05:00"
    home = f"{address['line'][0]}, {address['city']}"
    text = f"{chart.full_name}, born {birth}, record number {chart.mrn}, {home}"
    patient: Resource = {
        "resourceType": "Patient",
        "id": chart.id,
        "meta": {
            "versionId": "1",
            "lastUpdated": f"{chart.day(-0.01).isoformat()}T09:00:00.000Z",
            "source": f"{EHR}/adt/{chart.mrn}",
        },
        "text": narrative(text),
        "extension": _extensions(chart, address),
        "identifier": _identifiers(chart),
        "active": True,
        "name": _names(chart),
        "telecom": _telecom(chart),
        "gender": chart.spec["sex"],
        "birthDate": birth,
        "_birthDate": {
            "extension": [{"url": f"{EXTENSION}patient-birthTime", "valueDateTime": birth_time}]
        },
        "address": [address],
        "contact": _contacts(chart),
        "communication": [
            {
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]},
                "preferred": True,
            }
        ],
        "generalPractitioner": [doctor_reference("dr-1")],
        "managingOrganization": {"reference": "Organization/example-hospital"},
    }
    if died := chart.spec.get("died"):
        patient["deceasedDateTime"] = chart.moment(-float(died), 4 * 60 + 12).isoformat()
    chart.resources.insert(0, patient)


def _names(chart: Chart) -> list[Resource]:
    official = {"use": "official", "family": chart.family, "given": chart.given.split()}
    if chart.spec["sex"] == "female" and chart.body.age_now > 40:
        return [
            official,
            {"use": "maiden", "family": chart.rng.choice(MOTHERS), "given": chart.given.split()},
        ]
    return [official]


def _contacts(chart: Chart) -> list[Resource]:
    name = {
        "family": chart.family,
        "given": [chart.rng.choice(("Robin", "Noor", "Émile", "Kerstin"))],
    }
    phone = f"+1-555-555-{chart.rng.randrange(100, 199):04d}"
    return [{"name": name, "telecom": [{"system": "phone", "value": phone}]}]


def doctor_reference(key: str) -> dict[str, str]:
    given, family = next((g, f) for k, g, f in DOCTORS if k == key)
    return {"reference": f"Practitioner/{key}", "display": f"Dr. {given} {family}"}


# -- what all patients share ---------------------------------------------------------------------

_META = {"versionId": "1", "lastUpdated": "2020-01-01T00:00:00.000Z"}


def shared_resources() -> list[Resource]:
    """Organisation, people, place, endpoint and one shared Medication; the same in every record."""
    return [
        _organization(),
        *(_practitioner(*d) for d in DOCTORS),
        _location(),
        _endpoint(),
        _medication(),
    ]


def _organization() -> Resource:
    return {
        "resourceType": "Organization", "id": "example-hospital", "meta": dict(_META),
        "active": True,
        "identifier": [{"system": NPI, "value": "9990000001"}],
        "name": "Example General Hospital",
        "telecom": [{"system": "phone", "value": "555-555-0100"}],
        "address": [{"line": ["1 Hospital Road"], "city": "Springfield", "state": "MA"}],
    }  # fmt: skip


def _practitioner(key: str, given: str, family: str) -> Resource:
    return {
        "resourceType": "Practitioner", "id": key, "meta": dict(_META), "active": True,
        "identifier": [{"system": NPI, "value": f"99900001{len(family):02d}"}],
        "name": [{"family": family, "given": [given], "prefix": ["Dr."]}],
        "telecom": [{"system": "email", "value": f"{key}@example.org"}],
    }  # fmt: skip


def _location() -> Resource:
    return {
        "resourceType": "Location", "id": "clinic-a", "meta": dict(_META), "status": "active",
        "identifier": [{"system": f"{EHR}/rooms", "value": "A-2-117"}],
        "name": "Clinic A, second floor, room 117",
        "managingOrganization": {"reference": "Organization/example-hospital"},
    }  # fmt: skip


def _endpoint() -> Resource:
    kind = {
        "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
        "code": "dicom-wado-rs",
    }
    return {
        "resourceType": "Endpoint", "id": "pacs", "meta": dict(_META), "status": "active",
        "connectionType": kind,
        "name": "PACS of Example General Hospital",
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": "https://pacs.example.org/dicom-web",
    }  # fmt: skip


def _medication() -> Resource:
    return {
        "resourceType": "Medication", "id": "stock-atorvastatin", "meta": dict(_META),
        "identifier": [{"system": f"{EHR}/pharmacy-stock", "value": "STK-4471"}],
        "code": concept("atorvastatin"),
        "status": "active",
        "batch": {"lotNumber": "LOT-99-1207"},
    }  # fmt: skip


def any_doctor(chart: Chart) -> dict[str, Any]:
    return doctor_reference(chart.rng.choice(DOCTORS)[0])
