"""What write-back needs from a durable outbox.

An item goes `pending → sending → sent → confirmed`, or ends `failed` or `superseded`. A process
that dies while an item is `sending` or `sent` leaves it there; once its lease has run out another
may claim it, and because the write is idempotent on the server (it looks before it writes) the
second run finishes the first.

Everything a store is handed about a patient is sealed bytes. `key` and `detail` are safe to read: a
digest and a code from a closed list.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class OutboxState(StrEnum):
    PENDING = "pending"  # to be sent, or to be looked after again
    SENDING = "sending"  # claimed; a request may be under way
    SENT = "sent"  # the server answered; not yet read back
    CONFIRMED = "confirmed"  # read back: exactly one of each
    FAILED = "failed"  # given up; `detail` says why
    SUPERSEDED = "superseded"  # a newer assessment took its place before it was sent


FINAL_STATES = frozenset({OutboxState.CONFIRMED, OutboxState.FAILED, OutboxState.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class OutboxItem:
    key: str
    state: OutboxState
    payload: bytes
    """Sealed: the resources to write and the name of their server."""
    attempt: int
    """How often it was claimed. Whoever holds the highest number owns the item."""
    detail: str = ""
    result: bytes | None = None
    """Sealed: the references on the server, once known."""


class Note(NamedTuple):
    """What the audit says of an item that is confirmed: the twin, and a word about its result."""

    twin: str
    outcome: str


class OutboxStore(Protocol):
    """Each method is one transaction, safe between processes."""

    def enqueue(self, key: str, payload: bytes) -> bool:
        """Add a pending item. False, and nothing changed, when the key is known already.

        Except where it is known as failed: then it is opened again, pending, with this payload,
        its attempts counted on. Failed means that sending it again as it is would be pointless.
        """
        ...

    def get(self, key: str) -> OutboxItem | None: ...

    def take(self, key: str, payload: bytes, *, lease_seconds: int = 300) -> list[OutboxItem]:
        """`enqueue` and `claim` of one item in one step."""
        ...

    def claim(
        self, *, limit: int = 1, lease_seconds: int = 300, key: str | None = None
    ) -> list[OutboxItem]:
        """Take items for sending: pending ones, and sending/sent ones whose lease has run out.

        Each comes back as `sending` with `attempt` one higher and a fresh lease; no other caller
        gets it meanwhile; `detail` stays as it was. With `key`, only that item is looked at.
        Oldest first.
        """
        ...

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        """Move an item. `result` None keeps what is there. The note goes into the audit with it:
        both happen, or neither.

        False, and nothing changed, when `attempt` is no longer the current one or the item is
        final. `pending` releases the claim: the item may be claimed again at once.
        """
        ...
