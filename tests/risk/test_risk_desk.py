"""What an officer sets, and classes counted by the database, on whichever one the suite runs."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.databases import Clock

from privacy import ledger
from privacy.pseudonyms import new_pseudonym
from privacy.signing import SigningKey
from service.auth import Role
from service.auth.principals import ROLE_SCOPES, Kind, Principal
from service.risk.desk import RiskDesk
from service.risk.rows import traits_of
from service.risk.settings import RiskError, read_people
from service.risk.snapshot import snapshot
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.risk import RiskStore, Traits
from service.stores.twins import TwinStore

SIGNER = SigningKey.generate()


def somebody(role: Role) -> Principal:
    return Principal(role, ROLE_SCOPES[role], "officer-ada", Kind.API_KEY)


ADA = somebody(Role.PRIVACY_OFFICER)


@dataclass
class Held:
    """Twins that hold what risk is measured on, and nothing else."""

    database: Database
    desk: RiskDesk
    store: RiskStore

    def keep(self, *subjects: tuple[str, int, bool], policy: str = "safe-harbor") -> list[str]:
        return [self.one(subject, policy) for subject in subjects]

    def one(self, subject: tuple[str, int, bool], policy: str, value: float = 1.0) -> str:
        twin = new_pseudonym()
        sex, age, deceased = subject
        document: dict[str, Any] = {
            "twin": {"id": twin, "timeUnit": "d"},
            "subject": {"sex": sex, "age": age, "deceased": deceased},
            "signals": {"creatinine": {"t": [1, 1], "v": [value, value + 1]}},
        }
        TwinStore(self.database).add(
            pseudonym=twin, version=1, parent=None, digest=f"sha256:{twin}", proof=b"p",
            payload=orjson.dumps(document), policy=policy,
        )  # fmt: skip
        self.store.keep(twin, policy, traits_of(document))
        return twin


@pytest.fixture
def held(database: Database, clock: Clock) -> Held:
    desk = RiskDesk(database, SIGNER, clock=clock)
    return Held(database, desk, RiskStore(database, clock))


ALIKE = ("female", 54, False)


def test_what_an_officer_sets_holds_from_then_on_and_is_recorded(held: Held, clock: Clock) -> None:
    held.keep(ALIKE, ALIKE, ("male", 60, False))
    made = held.desk.settle(ADA, k=2, knows=("sex",), population=5000, source="register 2025")
    assert (made.threshold, made.k, made.knows, made.population) == ("own", 2, ("sex",), 5000)
    assert (made.set_by, made.set_at) == ("officer-ada", clock.now)
    found = held.desk.held()
    assert found["quasiIdentifiers"] == ["sex"]
    assert found["population"]["source"] == "register 2025"
    [own] = [level for level in found["thresholds"] if level["chosen"]]
    assert (own["id"], own["k"], own["met"], own["below"]) == ("own", 2, False, 1 / 3)
    [event] = AuditStore(held.database).recent()
    assert (event.action, event.subject) == ("risk-settings", "officer-ada")
    [line] = SqlLedgerStore(held.database).lines()
    entry = orjson.loads(ledger.split(line)[0])
    assert (entry["event"], entry["wanted"], entry["population"]) == ("risk-settings", 2, 5000)
    assert "officer-ada" not in line.decode()
    held.desk.settle(ADA, threshold="high-invasion")
    assert [decision.k for decision in held.desk.decisions()] == [20, 2]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"threshold": "none"}, "thresholds: low-invasion"),
        ({"k": 1}, "between 2 and"),
        ({"knows": ("shoe-size",)}, "may know: sex"),
        ({"knows": ()}, "may know: sex"),
        ({"population": 0, "source": "x"}, "at least one person"),
        ({"population": 10}, "where the population's figures come from"),
        ({"source": "<b>"}, "plain letters"),
        ({"people": {("female",): 3}, "population": 3, "source": "x"}, "give one of the two"),
    ],
)
def test_what_cannot_be_set_is_said(held: Held, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(RiskError, match=says):
        held.desk.settle(ADA, **wrong)
    assert held.desk.decisions() == []
    assert list(SqlLedgerStore(held.database).lines()) == []


@pytest.mark.parametrize("role", [Role.EHR, Role.ADMIN])
def test_only_officers_set(held: Held, role: Role) -> None:
    with pytest.raises(RiskError, match="privacy officer"):
        held.desk.settle(somebody(role), k=5)


def test_journalist_and_marketer_need_the_population(held: Held) -> None:
    twins = held.keep(*[("female", 50, False)] * 4, ("male", 70, False))
    assert held.desk.held()["classes"]["marketer"] is None
    table = ["sex,age,deceased,people", "female,50,false,40", "male,70,false,5", "male,71,false,9"]
    people = read_people(table, ("sex", "age", "deceased"))
    held.desk.settle(ADA, source="census", people=people)
    classes = held.desk.held()["classes"]
    assert classes["journalist_worst"] == 1 / 5
    assert classes["marketer"] == pytest.approx((4 / 40 + 1 / 5) / 5)
    assert held.desk.held()["population"]["size"] == 54
    one = held.desk.twin(twins[-1])
    assert (one["k"], one["people"], one["journalist"]) == (1, 5, 0.2)
    asked = held.desk.held(knows=("sex",))  # other traits: the table says nothing of them
    assert asked["classes"]["marketer"] is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (["sex,people"], "columns age, deceased, people, sex"),
        (["sex,age,deceased,people", "female,x,false,3"], "line 2"),
        (["sex,age,deceased,people", "female,3,maybe,3"], "line 2"),
        (["sex,age,deceased,people", "f,3,true,-1"], "negative"),
        (["sex,age,deceased,people", "f,3,true,1", "f,3,true,2"], "line 3.*given before"),
        (["sex,age,deceased,people", "f,3,true,0"], "nobody"),
        ([], "columns"),
    ],
)
def test_a_table_that_cannot_be_read(table: list[str], says: str) -> None:
    with pytest.raises(RiskError, match=says):
        read_people(table, ("sex", "age", "deceased"))


def test_a_new_version_takes_the_place_of_the_old_one(held: Held) -> None:
    [twin] = held.keep(ALIKE)
    held.store.keep(twin, "safe-harbor", Traits("female", 55, True, ("asthma",)))
    assert held.store.classes("safe-harbor", ("age", "deceased", "conditions")) == {
        (55, True, "asthma"): 1
    }


def test_policies_are_measured_apart(held: Held) -> None:
    held.keep(ALIKE, ALIKE)
    held.keep(ALIKE, policy="relative-minutes")
    assert held.desk.held()["classes"]["k"] == 2
    assert held.desk.held("relative-minutes")["classes"]["k"] == 1


def test_a_snapshot_counts_the_twin_and_fits_a_ledger(held: Held) -> None:
    first, _, other = held.keep(ALIKE, ALIKE, ("male", 20, False))
    found = snapshot(held.store, first, "safe-harbor")
    assert found == {
        "knows": ["sex", "age", "deceased"], "twins": 3, "classes": 2, "unique": 1, "k": 1,
        "own": 2, "threshold": "low-invasion", "wanted": 11, "met": False,
    }  # fmt: skip
    assert snapshot(held.store, other, "safe-harbor")["own"] == 1
    ledger.check_plain(found)


def test_a_sample_is_said_to_be_one(database: Database, clock: Clock) -> None:
    held = Held(database, RiskDesk(database, SIGNER, clock=clock, compared=3), RiskStore(database))
    twins = [held.one(ALIKE, "safe-harbor", float(number)) for number in range(5)]
    found = held.desk.held()
    assert (found["twins"], found["compared"]) == (5, 3)
    for twin in twins:  # also one that is not in the sample
        assert held.desk.twin(twin)["compared"] == 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["female", "male"]), st.integers(0, 90) | st.none(), st.booleans()
        ),
        max_size=12,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_classes_are_those_of_counting(held: Held, subjects: list[Any]) -> None:
    policy = f"p{new_pseudonym()}"
    for number, (sex, age, dead) in enumerate(subjects):
        held.store.keep(f"{policy}-{number}", policy, Traits(sex, age, dead))
    found = held.store.classes(policy, ("sex", "age-band", "deceased"))
    bands = [(sex, None if age is None else age // 10 * 10, dead) for sex, age, dead in subjects]
    assert found == {band: bands.count(band) for band in bands}
