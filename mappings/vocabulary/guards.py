"""The code guard handed to the de-identifier: what may pass as a code, and what may not."""

from mappings.vocabulary import genomics
from mappings.vocabulary.answers import is_listed
from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.concept_table import concept_for
from mappings.vocabulary.systems import SHORT_NAMES
from mappings.vocabulary.units import is_known_unit


def is_known_code(system: str, code: str) -> bool:
    """Whether a code may pass: in our tables, or of the shape of a system we know.

    A system we do not know never passes, nor does free text in the place of a code.
    """
    name = SHORT_NAMES.get(system)
    if name is None:
        return False
    if name == "ucum":
        return is_known_unit(code)
    if name == "pharmvar":
        return genomics.is_diplotype(code)
    if name == "hgnc":
        return genomics.is_gene(code)
    shape = SHAPES.get(name)
    if shape is not None and shape(code):
        return True
    return is_listed(name, code) or concept_for(name, code) is not None
