"""Reviews in the database: one decision, whoever is faster; what is sealed is destroyed."""

import pytest
from support.threads import at_once

from service.stores import Database
from service.stores.reviews import About, Charted, Decision, Review, ReviewStore, Shown, Verdict

ABOUT = About("A" * 22, "prevent", "sha256:" + "0" * 64)
ACCEPT = Verdict(Decision.ACCEPTED, None, None, b"sealed")
SEEN = Shown(0.08, 0.1, "below", False)


@pytest.fixture
def store(database: Database) -> ReviewStore:
    return ReviewStore(database)


def only(store: ReviewStore, reviewer: str = "ehr:one") -> Review:
    return next(r for r in store.of_twins([ABOUT.twin]) if r.reviewer == reviewer)


def test_a_person_has_one_review_of_an_answer(store: ReviewStore) -> None:
    first = store.open(ABOUT, "1.0.0", "ehr:one")
    assert store.open(ABOUT, "1.0.0", "ehr:one") == first
    assert store.open(ABOUT, "1.0.0", "ehr:two").id != first.id


def test_what_was_seen_stands(store: ReviewStore) -> None:
    review = store.open(ABOUT, "1.0.0", "ehr:one")
    assert store.show(review.id, SEEN)
    assert not store.show(review.id, Shown(0.1, 0.1, "agrees", False))
    assert only(store).estimate == 0.08


def test_of_many_at_once_one_decides(store: ReviewStore) -> None:
    reviews = [store.open(ABOUT, "1.0.0", f"ehr:{n}") for n in range(4)]
    won = at_once(4, lambda n: store.decide(reviews[n], ACCEPT))
    assert sorted(won) == [False, False, False, True]
    assert sum(r.decided is not None for r in store.of_twins([ABOUT.twin])) == 1


@pytest.mark.parametrize("end", [Charted.WRITTEN, Charted.NONE, Charted.REFUSED])
def test_a_comment_is_destroyed_when_it_has_reached_its_place(
    store: ReviewStore, end: Charted
) -> None:
    review = store.open(ABOUT, "1.0.0", "ehr:one")
    store.decide(review, ACCEPT)
    assert [r.id for r in store.pending(9)] == [review.id]
    store.charted(review.id, end)
    assert (only(store).chart, only(store).sealed_comment) == (end, None)
    assert store.pending(9) == []


def test_an_undone_decision_leaves_the_estimate(store: ReviewStore) -> None:
    review = store.open(ABOUT, "1.0.0", "ehr:one")
    store.show(review.id, SEEN)
    store.decide(review, ACCEPT)
    store.undo(review.id)
    now = only(store)
    assert (now.decided, now.decision, now.sealed_comment, now.estimate) == (None, None, None, 0.08)
    assert store.decide(review, ACCEPT)


def test_a_decision_that_is_in_the_chart_is_not_undone(store: ReviewStore) -> None:
    review = store.open(ABOUT, "1.0.0", "ehr:one")
    store.decide(review, ACCEPT)
    store.charted(review.id, Charted.WRITTEN)
    store.undo(review.id)
    assert only(store).decision is Decision.ACCEPTED


def test_decisions_are_found_by_the_key_of_their_result(store: ReviewStore) -> None:
    store.note_keys({ABOUT: "key-1"})
    store.note_keys({ABOUT: "key-2"})  # the first stands
    assert store.key_of(ABOUT) == "key-1"
    assert store.decisions(["key-1"]) == {}
    store.decide(store.open(ABOUT, "1.0.0", "ehr:one"), ACCEPT)
    assert set(store.decisions(["key-1", "key-2"])) == {"key-1"}


def test_what_is_forgotten_is_not_written_any_more(store: ReviewStore) -> None:
    store.decide(store.open(ABOUT, "1.0.0", "ehr:one"), ACCEPT)
    assert store.forget([ABOUT.twin]) == 1
    assert store.pending(9) == []
    assert only(store).sealed_comment is None
