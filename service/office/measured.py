"""Risk as it was measured last: kept in memory until the ledger or a setting has moved on."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from service.office.utility import SAMPLE, Utility, utility
from service.risk.desk import RiskDesk
from service.risk.rows import documents
from service.stores import Database
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex
from service.stores.risk import RiskStore

Json = dict[str, Any]
KEPT = 64


class Measured:
    """Measuring compares twins with each other and takes a moment; pages are opened often."""

    def __init__(self, database: Database, desk: RiskDesk) -> None:
        self.desk = desk
        self._database = database
        self._ledger = SqlLedgerStore(database)
        self._index = LedgerIndex(database)
        self._traits = RiskStore(database)
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def held(
        self, policy: str, *, knows: Sequence[str] = (), population: int | None = None
    ) -> Json:
        """Of all twins held under one policy."""
        key = ("held", policy, tuple(knows), population)
        found: Json = self._kept(
            key, lambda: self.desk.held(policy, knows=knows, population=population)
        )
        return found

    def twin(self, pseudonym: str) -> Json:
        """Of one held twin."""
        found: Json = self._kept(("twin", pseudonym), lambda: self.desk.twin(pseudonym))
        return found

    def utility(self, policy: str) -> Utility:
        """Of the twins held under one policy, a sample looked into."""
        found: Utility = self._kept(("utility", policy), lambda: self._utility(policy))
        return found

    def _utility(self, policy: str) -> Utility:
        twins = self._traits.sample(policy, SAMPLE)
        return utility(policy, self._index.places(), documents(self._database, twins))

    def _kept(self, key: Hashable, measure: Callable[[], Any]) -> Any:
        """Whatever is made, erased or decided is an entry of the ledger: as long as its head
        stands, so does what was measured. One caller measures, the others wait for it."""
        whole = (self._ledger.head().digest, key)
        with self._lock:
            if whole not in self._found:
                self._found[whole] = measure()
            self._found.move_to_end(whole)
            while len(self._found) > KEPT:
                self._found.popitem(last=False)
            return self._found[whole]
