"""All tables together, wherever they are declared: what migrations are compared with."""

from service.stores import cds, own, reidentify, risk, tables

METADATA = tables.Base.metadata

__all__ = ["METADATA", "cds", "own", "reidentify", "risk"]
