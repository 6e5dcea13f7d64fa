"""Risk, measured: of the twins held under one policy, of one of them, and over time."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import make_response, redirect, render_template, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from privacy.policy import load_policy, policy_ids, twin_policy_ids
from service.auth.principals import PSEUDONYM
from service.office.utility import Utility
from service.pages import plots, words
from service.pages.officer.frame import OFFICER, choice, office, officer, only
from service.pages.plots import Bar, Spot
from service.risk.settings import DEFAULT, LEVELS, OWN, RiskError
from service.stores.risk import QUASI
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import settings

Json = Mapping[str, Any]
HISTORY = 120  # entries in the plot
CONFLICT = 409


@officer.get("/risk")
@OFFICER
def risk() -> str:
    only("policy")
    return _page("")


@officer.post("/risk/settings")
@OFFICER
def settle() -> Response:
    """Decide what risk is held against from now on."""
    try:
        office().measured.desk.settle(principal(), **_given())
    except RiskError as error:
        return make_response(_page(_sentence(error)), CONFLICT)
    return redirect(url_for("officer.risk") + "#settings", 303)


@officer.get("/twins/<pseudonym>/risk")
@OFFICER
def twin_risk(pseudonym: str) -> str:
    only()
    if not PSEUDONYM.fullmatch(pseudonym):
        raise WebError(Failure.NOT_FOUND)
    try:
        found = office().measured.twin(pseudonym)
    except RiskError:
        raise WebError(Failure.NOT_FOUND) from None
    return render_template(
        "officer/twin_risk.html",
        pseudonym=pseudonym,
        found=found,
        traits=[words.word("trait", name) for name in found["quasiIdentifiers"]],
        attack=attack_plot("attack", found["attacks"]),
    )


def _page(message: str) -> str:
    desk = office()
    usual = settings().policy.default
    used = [name for name in desk.index.policies_used() if name in twin_policy_ids()]
    used.sort(key=lambda name: name != usual)
    policy = choice("policy", policy_ids()) or (used[0] if used else usual)
    found = desk.measured.held(policy)
    history = desk.measured.desk.history(policy, HISTORY)
    useful = [(desk.measured.utility(name), desk.measured.held(name)) for name in used]
    return render_template(
        "officer/risk.html",
        message=message,
        policy=policy,
        title=load_policy(policy).title,
        used=used,
        found=found,
        chosen=next(level for level in found["thresholds"] if level["chosen"]),
        threshold_words=lambda name: words.word("threshold", name),
        trait_words=lambda name: words.word("trait", name),
        sizes=size_plot("sizes", found),
        attack=attack_plot("attack", found["attacks"]),
        panels=panel_plot("panels", found["panels"]),
        course=course_plot("course", history),
        field=field_plot("field", useful),
        useful=useful,
        history=history[-10:][::-1],
        settings=desk.measured.desk.settings(),
        decisions=desk.measured.desk.decisions()[:10],
        levels=LEVELS.values(),
        quasi=list(QUASI),
        own=OWN,
    )


def _given() -> dict[str, Any]:
    """The form's fields as the desk takes them; what is no number is told so."""
    threshold = request.form.get("threshold", DEFAULT.threshold)
    k = _number("k") if threshold == OWN else None
    if threshold == OWN and k is None:
        raise RiskError("give the smallest class you want")
    return {
        "threshold": DEFAULT.threshold if threshold == OWN else threshold,
        "k": k,
        "knows": request.form.getlist("knows"),
        "population": _number("population"),
        "source": request.form.get("source", "").strip(),
    }


def _number(name: str) -> int | None:
    given = request.form.get(name, "").strip().replace(",", "")
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 11:
        raise RiskError("give whole numbers in digits")
    return int(given)


def _sentence(error: RiskError) -> str:
    text = str(error)
    return f"Nothing was changed: {text}."


# -- plots ---------------------------------------------------------------------------------------


def size_plot(name: str, found: Json) -> Markup:
    """How many twins are alike with how many others."""
    wanted = next(level["k"] for level in found["thresholds"] if level["chosen"])
    groups = buckets(found["sizes"], wanted)
    below = sum(number for label, number, small in groups if small)
    text = f"{below:,} of {found['twins']:,} twins are in classes smaller than {wanted}."
    made = plots.Words("Twins by size of their class", text, "twins alike", "twins")
    return plots.bars(name, made, [Bar(label, n, hatched=small) for label, n, small in groups])


def buckets(sizes: Sequence[Sequence[int]], wanted: int) -> list[tuple[str, int, bool]]:
    """Twins by class size: few groups, one of which begins at the wanted size."""
    starts = [s for s in (1, 2, 3, 5, 11, 20, 50) if s < wanted] + [wanted, wanted * 2, wanted * 5]
    found = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        held = [size * n for size, n in sizes if size >= start and (after is None or size < after)]
        found.append((_span(start, after), sum(held), start < wanted))
    while len(found) > 1 and not found[-1][1] and not found[-1][2]:
        found.pop()
    return found


def _span(start: int, after: int | None) -> str:
    if after is None:
        return f"{start}+"
    return str(start) if after == start + 1 else f"{start}–{after - 1}"


def attack_plot(name: str, attacks: Sequence[Json]) -> Markup:
    """How far somebody comes who has heard a few facts."""
    rows = [
        plots.Row(
            "finds the right twin",
            "dot",
            [Spot(str(a["known"]), a["success"], a["low"], a["high"]) for a in attacks],
        ),
        plots.Row(
            "only one fits", "square", [Spot(str(a["known"]), a["unicity"]) for a in attacks]
        ),
        plots.Row(
            "easiest tenth", "peak", [Spot(str(a["known"]), a["worst_decile"]) for a in attacks]
        ),
    ]
    last = attacks[-1] if attacks else None
    text = (
        f"Knowing {last['known']} facts, the right twin is found in {last['success']:.0%} of tries."
        if last
        else "Nothing was compared."
    )
    made = plots.Words("Success of a simulated attacker", text, "facts known", "share of tries")
    return plots.rows(name, made, rows if attacks else [])


def panel_plot(name: str, found: Json) -> Markup:
    """How few values of one day single a twin out."""
    needed = dict(found["needed"])
    most = max(needed, default=1)
    shown = [Bar(str(count), needed.get(count, 0), hatched=True) for count in range(1, most + 1)]
    rest = found["panels"] - found["singledOut"]
    if rest:
        shown.append(Bar("all don't", rest))
    text = f"{found['byOne']} of {found['panels']} days of results are singled out by one value."
    made = plots.Words(
        "Laboratory values that single a twin out", text, "values of the fullest day", "twins"
    )
    return plots.bars(name, made, shown)


def course_plot(name: str, history: Sequence[Json]) -> Markup:
    """Class sizes as they were when each twin was made."""
    points = [(made["seq"], made["k"], made["own"]) for made in history]
    wanted = history[-1]["wanted"] if history else DEFAULT.k
    met = sum(made["own"] >= made["wanted"] for made in history)
    text = f"{met} of the latest {len(history)} twins met what was wanted when they were made."
    made = plots.Words("Class sizes over time", text, "entry of the ledger", "twins alike")
    return plots.course(name, made, points, wanted)


def field_plot(name: str, useful: Sequence[tuple[Utility, Json]]) -> Markup:
    """Utility next to risk, a point for each policy."""
    points = [
        (one.policy, success_by(found, 2) or 0.0, one.answered)
        for one, found in useful
        if one.asked
    ]
    text = "; ".join(f"{p}: risk {x:.0%}, answers {y:.0%}" for p, x, y in points) or "No twin."
    made = plots.Words(
        "Utility next to risk", text, "found by two facts (risk)", "answers given (utility)"
    )
    return plots.field(name, made, points)


def success_by(found: Json, known: int) -> float | None:
    return next((a["success"] for a in found["attacks"] if a["known"] == known), None)
