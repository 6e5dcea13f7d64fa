"""What a store may answer with instead of data.

StoreError
├── ConflictError        somebody else changed it first: read again and retry
├── HalfDoneError        a part of a transaction failed, and its caller went on
├── NotFoundError        no such row
├── QueueFullError       no more may wait: come back later
└── SchemaMismatchError  the database is not at this software's revision
"""

from privacy.errors import ConflictError as PrivacyConflictError


class StoreError(Exception):
    """Base of all store errors; the message names table and cause, never a value."""


class ConflictError(StoreError, PrivacyConflictError):
    """The row changed since it was read, or exists already. What `privacy` expects of a store."""


class HalfDoneError(StoreError):
    """A part of a transaction failed, and whoever began it went on: nothing of it was kept."""


class NotFoundError(StoreError):
    """No such row."""


class QueueFullError(StoreError):
    """Too many runs wait already, of everybody or of this caller."""


class SchemaMismatchError(StoreError):
    """The database's revision is not the one this software needs."""
