"""The patient's pages beyond the first. `own` is handed to the application factory."""

from service.pages.own import consent, record, share, take, uses, wrong
from service.pages.own.frame import own

__all__ = ["consent", "own", "record", "share", "take", "uses", "wrong"]
