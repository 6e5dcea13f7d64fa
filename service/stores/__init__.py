"""Storage: ``open_database(url)``, ``upgrade(engine)`` and one repository per aggregate."""

from service.stores.database import Database, open_database, open_engine
from service.stores.migrate import current_revision, head_revision, upgrade

__all__ = [
    "Database",
    "current_revision",
    "head_revision",
    "open_database",
    "open_engine",
    "upgrade",
]
