"""Policies: what each supports, what it did, what two of them decide differently; the 18."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from flask import render_template, request

from privacy.errors import PolicyError
from privacy.explain import (
    MEANING,
    Amount,
    Difference,
    differences,
    identifiers,
    leaves,
)
from privacy.policy import Policy, load_policy, policy_ids
from service.office.archive import Edition
from service.pages import bars
from service.pages.officer.frame import OFFICER, choice, office, officer, only, wrong
from service.pages.officer.twins import action_words
from service.stores.ledger_index import Place
from service.web.errors import WebError
from service.web.ports import Failure
from service.web.services import settings


@dataclass(frozen=True, slots=True)
class Card:
    edition: Edition
    policy: Policy | None  # None: this software cannot read it any more
    entries: int


@dataclass(frozen=True, slots=True)
class Change:
    """One place that two policies judge differently, in words."""

    what: str
    before: str
    after: str


SETTINGS = {
    ("unit of time", "d"): "days",
    ("unit of time", "min"): "minutes",
    ("time in the ledger", "year"): "the year alone",
    ("time in the ledger", "second"): "to the second",
    ("dates in files", "year"): "the year alone",
    ("dates in files", "shifted"): "moved by a secret number of days",
    ("dates in files", "true"): "true dates",
}


@officer.get("/policies")
@OFFICER
def policies() -> str:
    only()
    desk = office()
    used = desk.index.policies()
    editions = desk.archive.editions()
    return render_template(
        "officer/policies.html",
        cards=[Card(e, _policy(e), used.get(e.digest, 0)) for e in editions],
        editions=editions,
        default_policy=settings().policy.default,
    )


@officer.get("/policies/<key>")
@OFFICER
def policy(key: str) -> str:
    only()
    desk, edition = office(), _edition(key)
    found = _policy(edition)
    places = [place for place in desk.index.places() if place.policy == edition.policy]
    verdicts = Counter(verdict.action for _, verdict in leaves(found)) if found else Counter[str]()
    return render_template(
        "officer/policy.html",
        edition=edition,
        policy=found,
        entries=desk.index.policies().get(edition.digest, 0),
        verdicts=[(action, MEANING[action], n) for action, n in verdicts.most_common()],
        places=places[:40],
        by_type=by_type(places),
        action_words=action_words,
        is_default=edition.current and edition.policy == settings().policy.default,
        others=[e for e in desk.archive.editions() if e != edition],
    )


@officer.get("/policies/compare")
@OFFICER
def compare() -> str:
    only("one", "other", "type")
    desk = office()
    one, other = _asked("one"), _asked("other")
    kinds = sorted({path.partition(".")[0] for path in _paths()})
    kind = choice("type", kinds)
    found = _changes(one, other)
    shown = [c for c in found if kind is None or c.what.startswith(f"{kind}.")]
    return render_template(
        "officer/compare.html",
        one=one,
        other=other,
        editions=desk.archive.editions(),
        kinds=kinds,
        settings_changed=[c for c in shown if "." not in c.what],
        by_type=_grouped(c for c in shown if "." in c.what),
        total=len(found),
    )


@officer.get("/identifiers", endpoint="identifiers")
@OFFICER
def the_eighteen() -> str:
    only("policy")
    name = choice("policy", policy_ids()) or settings().policy.default
    found = load_policy(name)
    counts: Counter[str] = Counter()
    for place in office().index.places():
        if place.policy == name and place.amount is not Amount.KEPT:
            counts[f"{place.type}.{place.path}"] += place.leaves
    return render_template(
        "officer/identifiers.html",
        policy=found,
        policies=policy_ids(),
        rows=[(one, sum(counts[path] for path in set(one.places))) for one in identifiers(found)],
    )


def by_type(places: Iterable[Place]) -> list[tuple[str, dict[Amount, int], object]]:
    """Leaves by resource type and by what was done with them."""
    sums: dict[str, Counter[Amount]] = {}
    for place in places:
        sums.setdefault(place.type, Counter())[place.amount] += place.leaves
    return [
        (kind, {a: found[a] for a in Amount}, bars.shares(f"t-{kind}", found, small=True))
        for kind, found in sorted(sums.items())
    ]


def _edition(key: str) -> Edition:
    found = office().archive.find(key)
    if found is None:
        raise WebError(Failure.NOT_FOUND)
    return found


def _asked(name: str) -> Edition:
    found = office().archive.find(request.args.get(name, ""))
    if found is None:
        raise wrong(name, "Name one of the policies kept here.")
    return found


def _policy(edition: Edition) -> Policy | None:
    try:
        return office().archive.policy(edition)
    except PolicyError:
        return None


def _paths() -> Iterable[str]:
    return (leaf.path for leaf, _ in leaves(load_policy("safe-harbor")))


def _changes(one: Edition, other: Edition) -> list[Change]:
    archive = office().archive
    try:
        found = differences(archive.policy(one), archive.policy(other))
    except PolicyError as error:
        raise WebError("invalid", next_step=f"One of the two can't be read: {error}.") from None
    return [_in_words(difference) for difference in found]


def _in_words(found: Difference) -> Change:
    if "." not in found.what:
        before, after = (SETTINGS.get((found.what, v), v) for v in (found.before, found.after))
        return Change(found.what, before, after)
    return Change(found.what, verdict_words(found.before), verdict_words(found.after))


def verdict_words(text: str) -> str:
    """`drop: phone, fax, e-mail` becomes `left out and counted, because: phone, fax, e-mail`."""
    action, _, reason = text.partition(":")
    meaning = MEANING.get(action, text)
    plain = reason.strip()
    if plain.startswith("["):
        plain = plain.partition("] ")[2]
    return f"{meaning}, because: {plain}" if plain else meaning


def _grouped(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.what.partition(".")[0], []).append(change)
    return sorted(found.items())
