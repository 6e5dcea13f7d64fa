"""What the de-identifier asks its caller's vocabulary: plain functions, so that it imports none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Codings = Sequence[Mapping[str, Any]]


def as_it_is(system: str, code: str) -> str:
    """Of a vocabulary that knows no more general code."""
    return code


def not_needed(system: str, code: str) -> bool:
    """Of a vocabulary in which no single code matters."""
    return False


def not_known(codes: Codings, quantity: Mapping[str, Any]) -> int | None:
    """Of a vocabulary that knows no clinical precision."""
    return None


@dataclass(frozen=True, slots=True)
class Guards:
    """The caller's vocabulary. `known_unit` judges unit spellings and UCUM codes alike.

    `general_code` says of a code as much as matters; `needed_code`, that it matters itself, however
    rare; `decimals`, to how many decimals a value under these codes and this unit means anything.
    """

    known_code: Callable[[str, str], bool]
    known_unit: Callable[[str], bool]
    general_code: Callable[[str, str], str] = as_it_is
    needed_code: Callable[[str, str], bool] = not_needed
    decimals: Callable[[Codings, Mapping[str, Any]], int | None] = not_known
