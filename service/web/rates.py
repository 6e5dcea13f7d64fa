"""A rate per caller, kept in memory: each process allows the rate for itself."""

import math
import threading
from collections import OrderedDict

_CALLERS = 10_000


class Rates:
    """The generic cell rate algorithm: one number per caller, exact, no window edges.

    A caller may use a minute's allowance at once and then goes on at the steady rate.
    """

    def __init__(self, per_minute: int) -> None:
        self._step = 60.0 / per_minute
        self._burst = 60.0
        self._due: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, caller: str, now: float) -> int | None:
        """None when admitted; else the whole seconds to wait."""
        with self._lock:
            due = max(self._due.get(caller, now), now) + self._step
            if due - now > self._burst:
                return max(1, math.ceil(due - now - self._burst))
            self._due[caller] = due
            self._due.move_to_end(caller)
            if len(self._due) > _CALLERS:
                self._due.popitem(last=False)  # the longest idle: its allowance is full again
            return None
