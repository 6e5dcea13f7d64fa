"""A search over resources at hand, for the service behind the tests."""

from collections.abc import Iterable

from service.web.ports import FhirPage, FhirQuery, OwnResource, Token, UpdatedBound


def select(resources: Iterable[OwnResource], query: FhirQuery) -> FhirPage:
    """The page of the query, in the order of ids."""
    found = sorted((r for r in resources if _matches(r, query)), key=lambda r: r.id)
    rest = [r for r in found if query.after is None or r.id > query.after]
    return FhirPage(rest[: query.limit], len(found), len(rest) > query.limit)


def _matches(found: OwnResource, query: FhirQuery) -> bool:
    return (
        found.type == query.type
        and (query.ids is None or found.id in query.ids)
        and (query.twins is None or found.twin in query.twins)
        and (query.targets is None or bool(_targets(found) & set(query.targets)))
        and (query.identifiers is None or any(_has(found, t) for t in query.identifiers))
        and all(_within(found, bound) for bound in query.updated)
    )


def _targets(found: OwnResource) -> set[str]:
    references = (target.get("reference", "") for target in found.resource.get("target", []))
    return {"/".join(reference.split("/")[-2:]) for reference in references}


def _has(found: OwnResource, token: Token) -> bool:
    given = found.resource.get("identifier", [])
    identifiers = given if isinstance(given, list) else [given]
    return any(_same(identifier, token) for identifier in identifiers)


def _same(identifier: dict[str, str], token: Token) -> bool:
    system = identifier.get("system", "")
    if token.system is not None and system != token.system:
        return False
    return not token.value or identifier.get("value") == token.value


def _within(found: OwnResource, bound: UpdatedBound) -> bool:
    after = bound.start is None or found.updated >= bound.start
    return after and (bound.end is None or found.updated < bound.end)
