"""The de-identifier with our vocabulary."""

from functools import cache

from mappings import vocabulary
from privacy.deidentify import Deidentifier
from privacy.guards import Guards
from privacy.policy import load_policy

GUARDS = Guards(
    known_code=vocabulary.is_known_code,
    known_unit=vocabulary.is_known_unit,
    general_code=vocabulary.general_code,
    needed_code=vocabulary.is_grouped,
    decimals=vocabulary.clinical_decimals,
)


@cache
def deidentifier_of(policy_id: str) -> Deidentifier:
    """Compiled once per process and policy; threads share it."""
    return Deidentifier(load_policy(policy_id), GUARDS)
