"""All tables together, wherever they are declared: what migrations are compared with."""

from service.stores import (
    bulk,
    cds,
    consents,
    disputes,
    foreign,
    launches,
    ledger_index,
    lessons,
    links,
    local_models,
    own,
    policies,
    reidentify,
    reviews,
    risk,
    tables,
    watches,
)

METADATA = tables.Base.metadata

__all__ = [
    "METADATA",
    "bulk",
    "cds",
    "consents",
    "disputes",
    "foreign",
    "launches",
    "ledger_index",
    "lessons",
    "links",
    "local_models",
    "own",
    "policies",
    "reidentify",
    "reviews",
    "risk",
    "watches",
]
