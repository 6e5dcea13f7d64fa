"""Risk as it was measured last: kept in memory until the ledger or a setting has moved on."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

from service.risk.desk import RiskDesk
from service.stores.ledger import SqlLedgerStore

Json = dict[str, Any]
KEPT = 16


class Measured:
    """Measuring compares twins with each other and takes a moment; pages are opened often."""

    def __init__(self, desk: RiskDesk, ledger: SqlLedgerStore) -> None:
        self.desk = desk
        self._ledger = ledger
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Json] = OrderedDict()

    def held(
        self, policy: str, *, knows: Sequence[str] = (), population: int | None = None
    ) -> Json:
        """Of all twins held under one policy. Whatever is made, erased or decided is an entry of
        the ledger: as long as its head stands, so does what was measured."""
        key = ("held", policy, tuple(knows), population, self._ledger.head().digest)
        with self._lock:
            if key not in self._found:
                self._found[key] = self.desk.held(policy, knows=knows, population=population)
            self._found.move_to_end(key)
            while len(self._found) > KEPT:
                self._found.popitem(last=False)
            return self._found[key]
