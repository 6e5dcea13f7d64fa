"""Of what identifies, that which is looked for."""

from dataclasses import replace

from privacy.gate import IdentifyingValues


def undated(values: IdentifyingValues) -> IdentifyingValues:
    """As far as files are searched for it."""
    return replace(values, dates=set())
