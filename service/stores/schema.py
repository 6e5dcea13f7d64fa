"""All tables together, wherever they are declared: what migrations are compared with."""

from service.stores import own, tables

METADATA = tables.Base.metadata

__all__ = ["METADATA", "own"]
