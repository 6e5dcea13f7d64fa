"""The desk at which a clinician reviews results: estimate, look, decide.

Where much hangs on a result, its number is shown to a person after their own estimate, and to
everybody once it is decided. Whether there is a pause never depends on the number: a pause that
came with high numbers alone would tell them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from service.auth import Kind, Principal
from service.config.sections import Reviews
from service.refresh.correct import Done
from service.review.agreement import compare, headline, warned
from service.review.chart import ChartWriter, Outcome
from service.review.facade import mark_own
from service.review.reliance import reliance
from service.review.verdicts import REASONS, reviewed_of
from service.stores.audit import AuditStore
from service.stores.own import OwnStore
from service.stores.reviews import About, Charted, Decision, Review, ReviewStore, Shown, Verdict
from twin_engine.models.contract import Model

Json = dict[str, Any]
LONGEST_COMMENT = 500
IN_HAND = timedelta(minutes=1)  # longer than a page waits for the chart


class Sealer(Protocol):
    def seal(self, plain: bytes, context: bytes = ...) -> bytes: ...

    def open(self, sealed: bytes, context: bytes = ...) -> bytes: ...


class ReviewError(Exception):
    """What was asked for cannot be done; `code` is from problems.csv."""

    def __init__(self, code: str, next_step: str = "") -> None:
        self.code, self.next_step = code, next_step
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one answer stands for one person: `hidden`, until they have given an estimate."""

    hidden: bool
    mine: Review | None = None
    decided: Review | None = None


class Stale(NamedTuple):
    """A result in a chart that no longer holds. `done`: it says so itself, a notice beside it does,
    or nothing."""

    twin: str
    model: str
    done: Done


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer under review: of which twin, and of which model."""

    twin: str
    assessment: Mapping[str, Any]
    model: Model
    past: bool = False  # its shelf life

    @property
    def about(self) -> About:
        return About(self.twin, self.model.id, self.assessment["snapshot"])


def pauses(settings: Reviews, model: Model) -> bool:
    """Whether an own estimate comes before this model's numbers."""
    if model.id in settings.shown_at_once:
        return False
    if model.id in settings.paused or settings.pause == "always":
        return True
    return settings.pause == "high" and model.stake == "high"


class ReviewDesk:
    """One per process. Holds no patient."""

    def __init__(
        self,
        store: ReviewStore,
        audit: AuditStore,
        settings: Reviews,
        chart: ChartWriter,
        own: OwnStore,
        sealer: Sealer,
        code_base: str,
    ) -> None:
        self._store, self._audit, self._settings = store, audit, settings
        self._chart, self._own, self._sealer, self._code_base = chart, own, sealer, code_base

    # -- what may be seen ----------------------------------------------------------------------

    def standings(
        self, documents: Iterable[tuple[str, Mapping[str, Any]]], models: Mapping[str, Model],
        who: Principal,
    ) -> dict[About, Standing]:  # fmt: skip
        """Of every answer of these twins (pseudonym, document); one look into the store."""
        asked = [
            Asked(twin, item, models[item["model"]["id"]])
            for twin, document in documents
            for item in document["assessments"]
            if item["results"] and not item.get("silent") and item["model"]["id"] in models
        ]
        reviews = self._store.of_twins(sorted({one.twin for one in asked}))
        return {one.about: self._standing(one, reviews, who) for one in asked}

    def standing(self, asked: Asked, who: Principal) -> Standing:
        return self._standing(asked, self._store.of_twins([asked.twin]), who)

    def _standing(self, asked: Asked, reviews: Iterable[Review], who: Principal) -> Standing:
        own = [one for one in reviews if one.about == asked.about]
        mine = next((one for one in own if one.reviewer == who.subject), None)
        decided = next((one for one in own if one.decided is not None), None)
        seen = decided is not None or (mine is not None and mine.shown is not None)
        return Standing(pauses(self._settings, asked.model) and not seen, mine, decided)

    def stale(self, twins: Iterable[str]) -> list[Stale]:
        """What stands in these patients' charts and no longer holds, until a person has dealt with
        it there."""
        waiting = self._chart.to_deal_with()
        found = self._store.keys_of(twins, waiting) if waiting else []
        return sorted({Stale(about.twin, about.model, waiting[key]) for about, key in found})

    # -- steps ---------------------------------------------------------------------------------

    def open(self, asked: Asked, who: Principal) -> Review:
        """The clock starts when the page is opened."""
        return self._store.open(asked.about, asked.assessment["model"]["version"], who.subject)

    def estimate(self, asked: Asked, who: Principal, estimate: float | None) -> None:
        """Once; None: the person has none. From now on the number is shown."""
        review = self.open(asked, who)
        shown = headline(asked.assessment, asked.model)
        agreed = compare(estimate, shown, asked.assessment, asked.model)
        seen = Shown(estimate, shown["value"], agreed, warned(asked.assessment, asked.past))
        if self._store.show(review.id, seen):
            self._note(who, "review-estimate", asked.model.id, "done", asked.twin)

    def decide(
        self, asked: Asked, who: Principal, decision: Decision,
        reason: str | None = None, own: float | None = None, comment: str = "",
    ) -> Outcome:  # fmt: skip
        """Keep the decision, then write it into the chart; a chart that has moved on undoes it."""
        _must_be_person(who)
        review = self._seen(asked, who)
        self._check_reason(review, decision, reason)
        sealed = self._seal(review, comment[:LONGEST_COMMENT].strip())
        if not self._store.decide(review, Verdict(decision, reason, own, sealed)):
            raise ReviewError("decided-already")
        self._note(who, f"review-{_VERBS[decision]}", asked.model.id, reason or "done", asked.twin)
        outcome = self._write(self.open(asked, who))
        if outcome is Outcome.CHANGED:
            self._note(who, "review-undone", asked.model.id, outcome, asked.twin)
        return outcome

    def _seen(self, asked: Asked, who: Principal) -> Review:
        """Nobody decides on a number they were not shown; where there is no pause it was shown."""
        review = self.open(asked, who)
        if review.shown is None and pauses(self._settings, asked.model):
            raise ReviewError("estimate-first")
        if review.shown is None:
            shown = headline(asked.assessment, asked.model)
            seen = Shown(None, shown["value"], "none", warned(asked.assessment, asked.past))
            self._store.show(review.id, seen)
        return review

    def _check_reason(self, review: Review, decision: Decision, reason: str | None) -> None:
        """Who differs says why; who agrees and accepts need not."""
        differed = review.agreed in ("below", "above")
        if reason is None and (decision is Decision.OVERRIDDEN or differed):
            raise ReviewError("reason-needed")
        if reason is not None and (
            reason not in REASONS or REASONS[reason].decision is not decision
        ):
            raise ReviewError("reason-needed")

    # -- into the chart ------------------------------------------------------------------------

    def finish(self, limit: int = 10, older: timedelta = IN_HAND) -> int:
        """Write the decisions that wait; how many found their place."""
        outcomes = [self._write(review) for review in self._store.pending(limit, older)]
        return sum(one is Outcome.WRITTEN for one in outcomes)

    def _write(self, review: Review) -> Outcome:
        key = self._store.key_of(review.about)
        outcome = Outcome.NOTHING_THERE
        if key is not None:
            made = reviewed_of(review, self._code_base, self._unseal(review))
            outcome = self._chart.write(key, made)
            if outcome is not Outcome.CHANGED:
                mark_own(self._own, review.about.twin, key, made)
        match outcome:
            case Outcome.CHANGED:
                self._store.undo(review.id)
            case Outcome.AWAY:
                pass
            case _:
                self._store.charted(review.id, _CHARTED[outcome])
        return outcome

    def in_a_chart(self, about: About) -> bool:
        """Whether there is a chart for a comment to go to."""
        key = self._store.key_of(about)
        return key is not None and self._chart.knows(key)

    def _seal(self, review: Review, comment: str) -> bytes | None:
        return self._sealer.seal(comment.encode(), _context(review)) if comment else None

    def _unseal(self, review: Review) -> str:
        if review.sealed_comment is None:
            return ""
        return self._sealer.open(review.sealed_comment, _context(review)).decode()

    # -- for the committee ---------------------------------------------------------------------

    def reliance(self) -> list[Json]:
        return reliance(
            self._store.decided(),
            smallest=self._settings.smallest_cell,
            fewest_people=self._settings.fewest_people,
        )

    def _note(self, who: Principal, action: str, model: str, outcome: str, twin: str) -> None:
        self._audit.record(
            role=str(who.role),
            subject=who.subject,
            action=action,
            outcome=f"{model}:{outcome}"[:64],
            object=twin,
        )


_VERBS = {Decision.ACCEPTED: "accept", Decision.OVERRIDDEN: "override"}
_CHARTED = {
    Outcome.WRITTEN: Charted.WRITTEN,
    Outcome.REFUSED: Charted.REFUSED,
    Outcome.NOTHING_THERE: Charted.NONE,
}


def _context(review: Review) -> bytes:
    """A sealed comment cannot be moved to another review."""
    return b"review:" + review.id.encode("ascii")


def _must_be_person(who: Principal) -> None:
    """A program can't accept for a person, and a session that nobody is named in is nobody's."""
    if who.kind is Kind.API_KEY or not who.is_known:
        raise ReviewError("person-needed")
