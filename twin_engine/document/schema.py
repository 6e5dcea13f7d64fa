"""The JSON Schema of a twin document: closed at every level, without a type that could hold text.

Every string is one of our own words, or matches a pattern of bounded length whose alphabet cannot
spell a sentence. `schema.json` beside this file is the published form.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from mappings.vocabulary import LARGEST_DOSE, SMALLEST_DOSE, Parameter
from mappings.vocabulary.genomics import STAR
from twin_engine.document.codes import FORMS
from twin_engine.document.terms import OTHER_UNIT, Terms, load, words

VERSION = 1
MEDIA_TYPE = f"application/vnd.twinport.twin+json;version={VERSION}"
SCHEMA_ID = f"urn:twinport:schema:twin:{VERSION}"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

PSEUDONYM = "^[A-Za-z0-9_-]{22}$"
DIGEST = "^sha256:[0-9a-f]{64}$"
RELEASE = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(?:(?:a|b|rc|\.dev)[0-9]{1,4})?$"
# A model's version; one recalibrated where it is used carries its own label behind it.
MODEL_RELEASE = RELEASE[:-1] + r"(?:\+local\.[1-9][0-9]{0,3})?$"
# Names given by the author of a model, never by a record: lower-case words joined by hyphens.
NAME = "^[a-z][a-z0-9]{0,23}(?:[-.][a-z0-9]{1,24}){0,7}$"
POSITION = "^(?:0|[1-9][0-9]{0,6})$"

# Four thousand years of minutes: further away from an epoch than any date that FHIR can write.
FARTHEST = 2**31 - 1
MOST_INSTANCES = 10**7
MOST_ASKED = 64  # Observations, by category, in every form that a server may refuse: fifty
PART = 10_000  # items of a list that are checked at once
FEW = 500  # items of a list or object that may itself hold long ones: signals, sources

Node = dict[str, Any]


class SchemaError(ValueError):
    """A document that is not one of ours. Carries the path and the rule, never the value."""


# --------------------------------------------------------------------------------------------
# Pieces
# --------------------------------------------------------------------------------------------


def _enum(values: Iterable[str]) -> Node:
    return {"type": "string", "enum": sorted(set(values))}


def _pattern(pattern: str) -> Node:
    return {"type": "string", "pattern": pattern}


def _object(required: Node, optional: Node | None = None, **more: Any) -> Node:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    } | more


def _list(items: Node, **more: Any) -> Node:
    return {"type": "array", "items": items} | more


def _integer(low: int = 0, high: int = 2**53 - 1) -> Node:
    return {"type": "integer", "minimum": low, "maximum": high}


def _number(low: float = -1e12, high: float = 1e12) -> Node:
    return {"type": "number", "minimum": low, "maximum": high}


def _sparse(values: Node) -> Node:
    """A column that is present only where its default does not hold: position -> value."""
    return {
        "type": "object",
        "patternProperties": {POSITION: values},
        "additionalProperties": False,
        "minProperties": 1,
    }


def _counts(keys: Iterable[str]) -> Node:
    return _object({}, dict.fromkeys(sorted(keys), _integer(1)))


def _ref(name: str) -> Node:
    return {"$ref": f"#/$defs/{name}"}


def _word(name: str) -> Node:
    return _enum(words()[name].words)


TIME = _integer(-FARTHEST, FARTHEST)
SRC = _integer()
AGE = _integer(0, 90)
BOOL: Node = {"type": "boolean"}


# --------------------------------------------------------------------------------------------
# Parts, in the order they stand in the document
# --------------------------------------------------------------------------------------------


def _twin() -> Node:
    policy = _object({"id": _word("policy"), "version": _integer(1), "digest": _ref("digest")})
    parent = {"type": ["string", "null"], "pattern": DIGEST}
    return _object(
        {
            "id": _ref("pseudonym"),
            "schema": {"type": "integer", "const": VERSION},
            "version": _integer(1),
            "parent": parent,
            "policy": policy,
            "software": _pattern(RELEASE),
            "timeUnit": _word("time-unit"),
            "now": TIME,
            "asOf": _word("as-of"),
            "identity": _word("identity"),
        }
    )


def _subject() -> Node:
    optional = {
        "age": AGE,
        "ageTopCoded": BOOL,
        "deceasedAt": TIME,
        "deceasedPrecision": _word("precision"),
        "src": SRC,
    }
    return _object({"sex": _word("sex"), "deceased": BOOL}, optional)


def _sources() -> Node:
    ids = _list(_ref("pseudonym"), minItems=1, uniqueItems=True)
    return _list(_object({"type": _word("source-type"), "ids": ids}))


def _signal(terms: Terms) -> Node:
    required = {
        "unit": _enum(terms.units.values()),
        "t": _list(TIME, minItems=1),
        "v": _list(_number(), minItems=1),
        "src": _list(SRC, minItems=1),
    }
    optional = {
        "precision": _sparse(_word("precision")),
        "comparator": _sparse(_word("comparator")),
        "status": _sparse(_word("observation-status")),
        "origin": _sparse(_word("origin")),
        "from": _sparse(_enum(terms.spellings | {OTHER_UNIT})),
        "flag": _sparse(_enum(terms.flags)),
        "range": _sparse(_object({}, {"low": _number(), "high": _number()}) | {"minProperties": 1}),
        "site": _sparse(_enum(terms.body_sites)),
        "method": _sparse(_enum(terms.methods)),
    }
    return _object(required, optional)


def _signals(terms: Terms) -> Node:
    """A value outside what is possible is set aside before it gets here, so none can be written."""
    concepts = {}
    for concept, unit in sorted(terms.units.items()):
        low, high = terms.plausible[concept]
        own = {"unit": {"const": unit}, "v": {"items": {"minimum": low, "maximum": high}}}
        concepts[concept] = _ref("signal") | {"properties": own}
    return _object({}, concepts)


def _answers(terms: Terms) -> Node:
    codes = (code for answers in terms.answers.values() for code in answers)
    required = {
        "t": _list(TIME, minItems=1),
        "code": _list(_enum(codes), minItems=1),
        "src": _list(SRC, minItems=1),
    }
    optional = {
        "precision": _sparse(_word("precision")),
        "status": _sparse(_word("observation-status")),
    }
    return _object(required, optional)


def _coded(terms: Terms) -> Node:
    concepts = {
        concept: _ref("answers") | {"properties": {"code": {"items": {"enum": sorted(answers)}}}}
        for concept, answers in sorted(terms.answers.items())
    }
    return _object({}, concepts)


def _coding() -> Node:
    """What `system` and `code` may be together; laid over every entry that carries them."""
    whole = {
        name: {
            "if": {"properties": {"system": {"const": name}}, "required": ["system"]},
            "then": {"properties": {"code": _pattern(f"^(?:{form.pattern})$")}},
        }
        for name, form in sorted(FORMS.items())
    }
    together = {"dependentRequired": {"system": ["code"], "code": ["system"]}}
    return together | {"allOf": list(whole.values())}


def _coded_entry(required: Node, optional: Node) -> Node:
    code = {"system": _enum(FORMS), "code": _ref("code")}
    return _object(required, code | optional) | {"allOf": [_ref("coding")]}


def _any_code() -> Node:
    return _pattern("^(?:" + "|".join(f"(?:{s.pattern})" for _, s in sorted(FORMS.items())) + ")$")


def _conditions(terms: Terms) -> Node:
    optional = {
        "group": _enum(terms.conditions),
        "clinical": _word("condition-clinical"),
        "verification": _word("condition-verification"),
        "onset": TIME,
        "onsetPrecision": _word("precision"),
        "onsetAge": AGE,
        "abatement": TIME,
        "abatementPrecision": _word("precision"),
        "recorded": TIME,
    }
    return _list(_coded_entry({"src": SRC}, optional))


def _imaging(terms: Terms) -> Node:
    modality, site = _ref("modality"), _ref("bodySite")
    instances = _integer(0, MOST_INSTANCES)
    parts = {
        "modality": modality,
        "bodySite": site,
        "laterality": _word("laterality"),
        "t": TIME,
        "precision": _word("precision"),
        "instances": instances,
        "read": instances,
        "parameters": _acquisition(terms),
    }
    series = _object({}, parts)
    measured = _object({"concept": _enum(terms.units), "src": SRC}, {"bodySite": site})
    required = {"status": _word("imaging-status"), "src": SRC}
    optional = {
        "t": TIME,
        "precision": _word("precision"),
        "modalities": _list(modality, minItems=1, uniqueItems=True),
        "seriesTotal": instances,
        "instances": instances,
        "series": _list(series, minItems=1),
        "measurements": _list(measured, minItems=1, uniqueItems=True),
    }
    return _list(_object(required, optional))


def _acquisition(terms: Terms) -> Node:
    """As with signals: nothing can be written that is not possible for the parameter."""
    known = {name: _parameter(row) for name, row in sorted(terms.acquisition.items())}
    return _object({}, known, minProperties=1)


def _parameter(row: Parameter) -> Node:
    if row.kind == "flag":
        return _object({"given": BOOL})
    if row.kind == "code":
        return _object({"words": _list(_enum(row.words), minItems=1, uniqueItems=True)})
    ends = _list(_number(*row.plausible), minItems=1, maxItems=2)
    return _object({"unit": {"type": "string", "const": row.unit}, "v": ends})


def _medications(terms: Terms) -> Node:
    required = {
        "kind": _word("medication-kind"),
        "status": _word("medication-status"),
        "src": SRC,
    }
    optional = {
        "classes": _list(_enum(terms.medications), minItems=1, uniqueItems=True),
        "ingredients": _list(_enum(terms.ingredients), minItems=1, uniqueItems=True),
        "start": TIME,
        "startPrecision": _word("precision"),
        "end": TIME,
        "supplyDays": _integer(1, 3650),
        "repeats": _integer(0, 99),
        "timesPerDay": _number(0.001, 96),
        "dose": _number(SMALLEST_DOSE, LARGEST_DOSE),
        "doseUnit": _enum(terms.dose_units),
    }
    entry = _coded_entry(required, optional)
    return _list(entry | {"dependentRequired": {"dose": ["doseUnit"], "doseUnit": ["dose"]}})


def _procedures(terms: Terms) -> Node:
    optional = {
        "group": _enum(terms.procedures),
        "start": TIME,
        "startPrecision": _word("precision"),
        "end": TIME,
    }
    return _list(_coded_entry({"status": _word("procedure-status"), "src": SRC}, optional))


def _encounters() -> Node:
    required = {"status": _word("encounter-status"), "src": SRC}
    optional = {
        "kind": _word("encounter-class"),
        "start": TIME,
        "startPrecision": _word("precision"),
        "end": TIME,
    }
    return _list(_object(required, optional))


def _genomics(terms: Terms) -> Node:
    """Two alleles by name, or what they mean; never a variant."""
    allele = {"anyOf": [_pattern(f"^{STAR.pattern}$"), _enum(terms.alleles)]}
    optional = {
        "diplotype": _list(allele, minItems=2, maxItems=2),
        "phenotype": _enum(terms.phenotypes),
        "t": TIME,
        "precision": _word("precision"),
        "status": _word("observation-status"),
    }
    entry = _object({"gene": _enum(terms.genes), "src": SRC}, optional)
    either = {
        "if": {"not": {"required": ["diplotype"]}},
        "then": {"required": ["phenotype"]},
    }
    return _list(entry | either)


def _allergies() -> Node:
    optional = {
        "clinical": _word("allergy-clinical"),
        "verification": _word("allergy-verification"),
        "onset": TIME,
    }
    return _list(_coded_entry({"src": SRC}, optional))


def _immunizations(terms: Terms) -> Node:
    """Left out where there are none: documents older than this part have none."""
    optional = {
        "against": _list(_enum(terms.vaccines), minItems=1, uniqueItems=True),
        "status": _word("immunization-status"),
        "t": TIME,
        "precision": _word("precision"),
        "dose": _integer(1, 99),
        "doses": _integer(1, 99),
    }
    return _list(_coded_entry({"src": SRC}, optional), minItems=1)


def _family(terms: Terms) -> Node:
    required = {"relationship": _enum(terms.relationships), "src": SRC}
    return _list(_coded_entry(required, {"group": _enum(terms.conditions), "onsetAge": AGE}))


def _completeness() -> Node:
    counts = ("queries", "refused", "pages", "matches", "duplicates", "outcomes")
    required = {"type": _word("slice-type"), "verdict": _word("verdict")}
    optional = {name: _integer() for name in counts} | {
        "asked": _list(_pattern(_asked()), maxItems=MOST_ASKED, uniqueItems=True),
        "reason": _word("shortfall"),
        "dropped": _counts(words()["drop-reason"].words),
        "truncated": BOOL,
        "server": _integer(0, 1000),
        "serverTotal": _integer(),
        "rests": _word("slice-rests"),
        "fullDaysAgo": _integer(),
    }
    slices = _list(_object(required, optional))
    required = {"basis": _word("completeness-basis"), "slices": slices}
    return _object(required, {"notRead": _counts(words()["not-read"].words)})


def _asked() -> str:
    """A question as a search is written: every part is a word of ours, none a value of a record."""
    paths, given = (_either(words()[name].words) for name in ("query-path", "query-parameter"))
    return f"^(?:POST )?{paths}(?:/_search)?(?:[?]{given}(?:&{given}){{0,7}})?$"


@cache
def _question() -> re.Pattern[str]:
    return re.compile(_asked())


def is_question(text: str) -> bool:
    """Whether a text is made of our own words for questions alone."""
    return _question().fullmatch(text) is not None


def _either(values: Iterable[str]) -> str:
    return f"(?:{'|'.join(re.escape(value) for value in values)})"


def _quality(terms: Terms) -> Node:
    concept, count = _enum({*terms.units, *terms.answers}), _integer(1)
    origin = _enum(terms.spellings | {OTHER_UNIT})
    conversion = _object({"concept": concept, "from": origin, "n": count})
    aside = _object({"rule": _enum(terms.rules), "src": SRC}, {"concept": concept, "t": TIME})
    conflict = _object({"concept": concept, "t": TIME, "n": count})
    unmapped = _coded_entry({"type": _word("source-type"), "n": count}, {})
    required = {
        "conversions": _list(conversion),
        "setAside": _list(aside),
        "conflicts": _list(conflict),
        "unmapped": _list(unmapped),
    }
    return _object(required, {"codesRefused": count})


def _changes() -> Node:
    withdrawn = _object({"source": _ref("pseudonym"), "why": _word("withdrawal")})
    return _object(
        {
            "added": _list(SRC, uniqueItems=True),
            "corrected": _list(SRC, uniqueItems=True),
            "withdrawn": _list(withdrawn),
            "notSeen": _list(_ref("pseudonym"), uniqueItems=True),
        }
    )


def _assessments() -> Node:
    name, span = _ref("name"), _number(0, 200)
    model = _object(
        {"id": name, "version": _pattern(MODEL_RELEASE), "card": _ref("digest")}, {"variant": name}
    )
    share = _list(_object({"input": name, "share": _number()}))
    interval = _object({"low": _number(), "high": _number(), "level": _number(0, 1), "kind": name})
    result = _object(
        {"outcome": name, "value": _number(), "unit": _ref("resultUnit")},
        {
            "horizonYears": span,
            "interval": interval,
            "intervalRefused": name,
            "category": _object({"scheme": name, "code": name}),
            "contributions": share,
            "width": share,
        },
    )
    refusal = _object({"outcome": name, "reason": name}, {"horizonYears": span, "input": name})
    used = _object(
        {"input": name, "how": _word("how")},
        {
            "value": {"anyOf": [_number(), BOOL, name]},
            "unit": _ref("resultUnit"),
            "t": TIME,
            "src": _list(SRC, uniqueItems=True),
            "comparator": _word("comparator"),
        },
    )
    required = {
        "model": model,
        "at": TIME,
        "answer": _word("answer"),
        "inputs": _list(used),
        "snapshot": _ref("digest"),
        "results": _list(result),
        "refusals": _list(refusal),
        "missing": _list(name),
    }
    silent: Node = {"type": "boolean", "const": True}
    slices = _list(_word("slice-type"), uniqueItems=True)
    unseen = _list(_object({"input": name, "slices": slices}))
    return _list(_object(required, {"unseen": unseen, "helps": name, "silent": silent}))


# --------------------------------------------------------------------------------------------
# The whole
# --------------------------------------------------------------------------------------------


def build_schema(terms: Terms) -> Node:
    """The schema over one vocabulary."""
    parts = {
        "twin": _twin(),
        "subject": _subject(),
        "sources": _sources(),
        "signals": _signals(terms),
        "coded": _coded(terms),
        "conditions": _conditions(terms),
        "imaging": _imaging(terms),
        "medications": _medications(terms),
        "procedures": _procedures(terms),
        "encounters": _encounters(),
        "allergies": _allergies(),
        "family": _family(terms),
        "genomics": _genomics(terms),
        "completeness": _completeness(),
        "quality": _quality(terms),
        "assessments": _assessments(),
    }
    heading = {"$schema": DIALECT, "$id": SCHEMA_ID, "title": "Twin document"}
    optional = {"changes": _changes(), "immunizations": _immunizations(terms)}
    return heading | _object(parts, optional) | {"$defs": _definitions(terms)}


def _definitions(terms: Terms) -> Node:
    return {
        "pseudonym": _pattern(PSEUDONYM),
        "digest": _pattern(DIGEST),
        "name": _pattern(NAME),
        "code": _any_code(),
        "coding": _coding(),
        "modality": _enum(terms.modalities),
        "bodySite": _enum(terms.body_sites),
        "resultUnit": _enum({*terms.units.values(), "1", "a"}),
        "signal": _signal(terms),
        "answers": _answers(terms),
    }


@cache
def schema() -> Node:
    """The schema over the shipped vocabulary."""
    return build_schema(load())


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema())


def check(document: Mapping[str, Any]) -> None:
    """Raise SchemaError where the document leaves the schema. Says where and which rule only.

    The validator copies what it checks, at some hundred bytes for each value: a long document is
    shown to it in parts. (That no source is listed twice in a list of many parts, `read` checks.)
    """
    validator = _validator()
    if all(map(validator.is_valid, parts(document) if _is_long(document) else (document,))):
        return
    found = next(iter(validator.iter_errors(document)))
    path = "/".join(str(step) for step in found.instance_path) or "(document)"
    raise SchemaError(f"not a twin document: {path} breaks the schema's {found.schema_path[-1]!r}")


@cache
def _part_validator(name: str) -> jsonschema_rs.Draft202012Validator:
    whole = schema()
    return jsonschema_rs.Draft202012Validator(
        {"$schema": DIALECT, "$defs": whole["$defs"]} | whole["properties"][name]
    )


def check_part(document: Mapping[str, Any], name: str) -> None:
    """The same of a document that differs in this part alone from one that has been checked: no
    rule speaks of two parts."""
    if not _part_validator(name).is_valid(document[name]):
        check(document)


def _is_long(document: Mapping[str, Any]) -> bool:
    """By its sources: whatever a twin lists grows with them."""
    rows = document.get("sources") if isinstance(document, Mapping) else None
    ids = [row.get("ids") for row in rows if type(row) is dict] if type(rows) is list else []
    return any(type(listed) is list and len(listed) > PART for listed in ids)


def parts(document: Mapping[str, Any], size: int = PART) -> Iterator[Any]:
    """The document with at most `size` items of each list and object, as often as that takes."""
    start, longest = 0, 1
    while start < longest:
        part, longest = _part(document, start, size)
        yield part
        start += size


def _part(node: Any, start: int, size: int) -> tuple[Any, int]:
    """The items from `start` on, the first one where there are none; the longest length met.

    What is short enough to be a list of lists is looked into; columns and entries are not.
    """
    if not isinstance(node, list | Mapping):
        return node, 0
    if len(node) > FEW:
        part = _slice(node, start, size) or _slice(node, 0, 1)
        return part, len(node)
    if isinstance(node, list):
        items = [_part(value, start, size) for value in node]
        return [part for part, _ in items], max((n for _, n in items), default=0)
    named = {key: _part(value, start, size) for key, value in node.items()}
    longest = max((n for _, n in named.values()), default=0)
    return {key: part for key, (part, _) in named.items()}, longest


def _slice(node: Any, start: int, size: int) -> Any:
    if isinstance(node, list):
        return node[start : start + size]
    return dict(islice(node.items(), start, start + size))


def published() -> bytes:
    """The bytes of `schema.json`."""
    return orjson.dumps(schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
