"""Search: the parameter table, parsing of what was asked, and matching against resources."""

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from service.sandbox.dates import PREFIXES, Interval, interval_of, matches, parse_interval
from service.sandbox.errors import FhirError
from service.sandbox.store import Resource, Store, subject_id

RESULT_PARAMETERS = ("_count", "_sort", "_include", "_summary")
PRESENTATION_PARAMETERS = ("_format", "_pretty")


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: str
    paths: tuple[tuple[str, ...], ...]
    include: str | None = None


def _parameter(name: str, row: dict[str, Any]) -> Parameter:
    paths = tuple(tuple(path.split(".")) for path in row["path"])
    return Parameter(name, row["kind"], paths, row.get("include"))


@lru_cache(maxsize=1)
def parameter_table() -> dict[str, dict[str, Parameter]]:
    text = resources.files("service.sandbox").joinpath("search.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    common = {name: _parameter(name, row) for name, row in raw.pop("common").items()}
    return {
        kind: common | {name: _parameter(name, row) for name, row in rows.items()}
        for kind, rows in raw.items()
    }


def known_types() -> tuple[str, ...]:
    return tuple(parameter_table())


# -- values in a resource ------------------------------------------------------------------------


def walk(value: Any, path: tuple[str, ...]) -> list[Any]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in walk(item, path)]
    if not path:
        return [value]
    if isinstance(value, dict) and path[0] in value:
        return walk(value[path[0]], path[1:])
    return []


def _found(resource: Resource, parameter: Parameter) -> list[Any]:
    return [leaf for path in parameter.paths for leaf in walk(resource, path)]


# -- tests, one per parameter kind ---------------------------------------------------------------

Test = Callable[[Resource], bool]


def _codings(value: Any) -> list[tuple[str, str]]:
    """(system, code) pairs of a code, Coding, CodeableConcept or Identifier."""
    if isinstance(value, str):
        return [("", value)]
    if not isinstance(value, dict):
        return []
    if "coding" in value:
        return [(c.get("system", ""), c.get("code", "")) for c in value["coding"]]
    return [(str(value.get("system", "")), str(value.get("code", value.get("value", ""))))]


def _token_matches(asked: str, pairs: Iterable[tuple[str, str]]) -> bool:
    if "|" not in asked:
        return any(code == asked for _, code in pairs)
    system, code = asked.split("|", 1)
    return any(s == system and (not code or c == code) for s, c in pairs)


def _token_test(parameter: Parameter, values: list[str], base: str) -> Test:
    def test(resource: Resource) -> bool:
        pairs = [pair for leaf in _found(resource, parameter) for pair in _codings(leaf)]
        return any(_token_matches(value, pairs) for value in values)

    return test


def relative_reference(text: str, base: str) -> str:
    """`Type/id` of a relative or own absolute reference, without a version; others unchanged."""
    text = text.removeprefix(base.rstrip("/") + "/")
    return text.split("/_history/")[0]


def _reference_test(parameter: Parameter, values: list[str], base: str) -> Test:
    asked = [relative_reference(value, base) for value in values]
    if parameter.name == "patient":
        asked = [value if "/" in value else f"Patient/{value}" for value in asked]

    def one(reference: str) -> bool:
        return any(
            reference == value or ("/" not in value and reference.endswith("/" + value))
            for value in asked
        )

    def test(resource: Resource) -> bool:
        leaves = [leaf for leaf in _found(resource, parameter) if isinstance(leaf, dict)]
        return any(one(relative_reference(leaf.get("reference", ""), base)) for leaf in leaves)

    return test


def _asked_date(parameter: Parameter, value: str) -> tuple[str, Interval]:
    prefix, text = (value[:2], value[2:]) if value[:2] in PREFIXES else ("eq", value)
    try:
        # A browser or a careless client turns the + of an offset into a blank.
        return prefix, parse_interval(text.replace(" ", "+"))
    except ValueError:
        raise FhirError(
            400, "value", f"{parameter.name} needs a date, as in ge2020-01-31"
        ) from None


def _date_test(parameter: Parameter, values: list[str], base: str) -> Test:
    asked = [_asked_date(parameter, value) for value in values]

    def test(resource: Resource) -> bool:
        spans = [span for leaf in _found(resource, parameter) if (span := interval_of(leaf))]
        return any(matches(prefix, want, span) for prefix, want in asked for span in spans)

    return test


_TESTS: dict[str, Callable[[Parameter, list[str], str], Test]] = {
    "token": _token_test,
    "reference": _reference_test,
    "date": _date_test,
}


def split_or(value: str) -> list[str]:
    """Values joined by commas; `\\,` is a comma that belongs to the value."""
    parts = re.split(r"(?<!\\),", value)
    return [re.sub(r"\\([,$|\\])", r"\1", part) for part in parts]


# -- a whole query -------------------------------------------------------------------------------


@dataclass
class Query:
    """What a client asked, after sorting out what this server understands."""

    kind: str
    criteria: list[tuple[str, str]] = field(default_factory=list)
    sort: list[str] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)
    count: int = 50
    summary_count: bool = False
    ignored: list[str] = field(default_factory=list)

    def understood(self) -> list[tuple[str, str]]:
        """The parameters of a truthful self link."""
        pairs = list(self.criteria) + [("_include", value) for value in self.includes]
        if self.sort:
            pairs.append(("_sort", ",".join(self.sort)))
        pairs.append(("_summary", "count") if self.summary_count else ("_count", str(self.count)))
        return pairs


def parse_query(
    kind: str, pairs: Iterable[tuple[str, str]], *, default_count: int, max_count: int, strict: bool
) -> Query:
    table = parameter_table()[kind]
    query = Query(kind, count=default_count)
    for name, value in pairs:
        if name in PRESENTATION_PARAMETERS:
            continue
        if name in RESULT_PARAMETERS:
            _result_parameter(query, name, value, max_count, strict)
        elif name in table:
            query.criteria.append((name, value))
        elif ":" in name and name.split(":")[0] in table:
            raise FhirError(
                400, "not-supported", f"modifiers are not supported on {name.split(':')[0]}"
            )
        else:
            _ignore(query, name, strict)
    return query


def _ignore(query: Query, name: str, strict: bool) -> None:
    if strict:
        raise FhirError(400, "not-supported", f"unknown search parameter for {query.kind}")
    query.ignored.append(name)


def _result_parameter(query: Query, name: str, value: str, max_count: int, strict: bool) -> None:
    if name == "_count":
        _set_count(query, value, max_count)
    elif name == "_sort":
        _set_sort(query, value)
    elif name == "_summary" and value == "count":
        query.summary_count = True
    elif name == "_include" and value in include_values(query.kind):
        query.includes.append(value)
    else:
        _ignore(query, name, strict)


def _set_count(query: Query, value: str, max_count: int) -> None:
    if not value.isdecimal():
        raise FhirError(400, "value", "_count needs a whole number of 0 or more")
    query.summary_count = query.summary_count or int(value) == 0
    query.count = max(1, min(int(value), max_count))


def _set_sort(query: Query, value: str) -> None:
    allowed = sort_names(query.kind)
    for name in value.split(","):
        if name.removeprefix("-") not in allowed:
            raise FhirError(
                400, "not-supported", f"_sort takes {', '.join(allowed)} for {query.kind}"
            )
        query.sort.append(name)


def sort_names(kind: str) -> list[str]:
    return [
        name for name, p in parameter_table()[kind].items() if p.kind == "date" or name == "_id"
    ]


def include_values(kind: str) -> list[str]:
    return [f"{kind}:{name}" for name, p in parameter_table()[kind].items() if p.include]


def run_query(store: Store, query: Query, base: str) -> list[Resource]:
    table = parameter_table()[query.kind]
    tests = [
        _TESTS[table[name].kind](table[name], split_or(value), base)
        for name, value in query.criteria
    ]
    found = [r for r in _candidates(store, query, base) if all(test(r) for test in tests)]
    for name in reversed(query.sort):
        _sort(found, table[name.removeprefix("-")], descending=name.startswith("-"))
    return found


def _candidates(store: Store, query: Query, base: str) -> list[Resource]:
    """One patient's resources where the query names one patient, else all of the type."""
    for name, value in query.criteria:
        if name in ("patient", "subject") and "," not in value:
            reference = relative_reference(value, base)
            if "/" not in reference or reference.startswith("Patient/"):
                return store.of_patient(query.kind, reference.rsplit("/", 1)[-1])
    return store.all(query.kind)


def _sort(found: list[Resource], parameter: Parameter, descending: bool) -> None:
    """Stable; resources without the element come last in either direction."""

    def key(resource: Resource) -> Any:
        if parameter.name == "_id":
            return resource["id"]
        spans = [span for leaf in _found(resource, parameter) if (span := interval_of(leaf))]
        return min(spans).lo if spans else None

    keyed = [(key(resource), resource) for resource in found]
    with_key = sorted(
        (k for k in keyed if k[0] is not None), key=lambda k: k[0], reverse=descending
    )
    found[:] = [r for _, r in with_key] + [r for k, r in keyed if k is None]


def included(store: Store, query: Query, matched: list[Resource]) -> list[Resource]:
    """Targets of `_include` for the matches of one page, each once."""
    targets: dict[tuple[str, str], Resource] = {}
    for value in query.includes:
        parameter = parameter_table()[query.kind][value.split(":")[1]]
        for resource in matched:
            for leaf in _found(resource, parameter):
                kind, _, identity = str(leaf.get("reference", "")).partition("/")
                target = store.read(kind, identity)
                if target is not None:
                    targets[(kind, identity)] = target
    return list(targets.values())


def everything(store: Store, patient: str) -> list[Resource]:
    """The Patient, what is about them, and what that points to (one step)."""
    own = [r for kind in known_types() for r in store.of_patient(kind, patient)]
    own.sort(key=lambda r: r["resourceType"] != "Patient")
    seen = {(r["resourceType"], r["id"]) for r in own}
    extra: list[Resource] = []
    for reference in (ref for r in own for ref in references(r)):
        kind, _, identity = reference.partition("/")
        target = store.read(kind, identity)
        other_person = target is not None and subject_id(target) not in (None, patient)
        if target is not None and not other_person and (kind, identity) not in seen:
            seen.add((kind, identity))
            extra.append(target)
    return own + extra


def references(value: Any) -> list[str]:
    """Every literal reference in a resource, in order."""
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("reference")
    here = [own] if isinstance(own, str) else []
    return here + [
        ref for key, item in value.items() if key != "reference" for ref in references(item)
    ]
