"""What the de-identifier is told of our vocabulary."""

from mappings import vocabulary
from privacy.guards import Guards

GUARDS = Guards(
    known_code=vocabulary.is_known_code,
    known_unit=vocabulary.is_known_unit,
    general_code=vocabulary.general_code,
    needed_code=vocabulary.is_grouped,
    decimals=vocabulary.clinical_decimals,
)
