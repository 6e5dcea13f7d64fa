"""Groups of conditions, procedures and vaccines: codes and prefixes, inclusions and exclusions."""

from functools import lru_cache
from typing import NamedTuple

from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.systems import NAMES, SHORT_NAMES
from mappings.vocabulary.tables import Row, VocabularyError, read_table

# Where the dot of an ICD code stands when a server left it out.
_DOTTED = {"icd10cm": 3, "icd10": 3, "icd9cm": 3}


class Membership(NamedTuple):
    """The groups a code belongs to, and those it is declared not to belong to."""

    groups: tuple[str, ...]
    excluded: frozenset[str]


_NOWHERE = Membership((), frozenset())


def normal_code(system: str, code: str) -> str:
    """A code as the tables write it: ICD codes with their dot."""
    at = _DOTTED.get(system)
    if at is None or "." in code:
        return code
    at += system == "icd9cm" and code.startswith("E")
    return f"{code[:at]}.{code[at:]}" if len(code) > at else code


class GroupTable:
    """One table of groups. An exclusion wins over an inclusion, also inside a prefix."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._exact: dict[tuple[str, str], list[tuple[str, bool]]] = {}
        self._prefix: dict[tuple[str, str], list[tuple[str, bool]]] = {}
        self.labels: dict[str, str] = {}
        for line, row in read_table(name):
            self._add(line, row)
        self._lookup = lru_cache(maxsize=2**16)(self._find)  # codes come from outside

    def _add(self, line: int, row: Row) -> None:
        if row["system"] not in NAMES or row["include"] not in ("include", "exclude", "review"):
            raise VocabularyError(self._name, line, "unknown system or inclusion")
        if row["match"] == "exact" and not SHAPES[row["system"]](row["code"]):
            raise VocabularyError(self._name, line, "the code fails its shape or check digit")
        self.labels.setdefault(row["group"], row["group_label"])
        if row["include"] == "review":  # too broad to decide anything
            return
        table = self._exact if row["match"] == "exact" else self._prefix
        entry = (row["group"], row["include"] == "include")
        entries = table.setdefault((row["system"], row["code"]), [])
        if (entry[0], not entry[1]) in entries:
            raise VocabularyError(self._name, line, "a code both in and out of one group")
        entries.append(entry)

    def _find(self, system: str, code: str) -> Membership:
        entries = list(self._exact.get((system, code), ()))
        for end in range(1, len(code) + 1):
            entries += self._prefix.get((system, code[:end]), ())
        excluded = frozenset(group for group, included in entries if not included)
        included = {group for group, included in entries if included} - excluded
        if not included and not excluded:
            return _NOWHERE
        return Membership(tuple(sorted(included)), excluded)

    def membership(self, system: str, code: str) -> Membership:
        """What the table says of a code; `system` is a URI or a short name."""
        name = SHORT_NAMES.get(system, "")
        return self._lookup(name, normal_code(name, code)) if name else _NOWHERE

    def holds(self, system: str, code: str) -> bool:
        return self.membership(system, code) is not _NOWHERE


def _general(system: str, code: str) -> str:
    """An ICD code no finer than the groups distinguish: its category, where they know no more."""
    full = normal_code(system, code)
    wanted = CONDITIONS.membership(system, full)
    least = _DOTTED[system] + (system == "icd9cm" and full.startswith("E"))
    shorter = (full[:end] for end in range(least, len(full)) if full[end - 1] != ".")
    return next((c for c in shorter if CONDITIONS.membership(system, c) == wanted), full)


_general_code = lru_cache(maxsize=2**16)(_general)


CONDITIONS = GroupTable("conditions.csv")
PROCEDURES = GroupTable("procedures.csv")
VACCINES = GroupTable("vaccines.csv")


def general_code(system: str, code: str) -> str:
    """As much of a diagnosis code as anybody here needs; codes of other systems as they are."""
    name = SHORT_NAMES.get(system, "")
    return _general_code(name, code) if name in _DOTTED else code


def is_grouped(system: str, code: str) -> bool:
    """Whether a diagnosis code belongs to a group, or is declared to be outside one."""
    return CONDITIONS.holds(system, code)


def condition_membership(system: str, code: str) -> Membership:
    """Groups of a diagnosis code, and the groups it is declared to be outside of."""
    return CONDITIONS.membership(system, code)


def condition_groups(system: str, code: str) -> tuple[str, ...]:
    """The condition groups a diagnosis code belongs to, sorted."""
    return CONDITIONS.membership(system, code).groups


def procedure_groups(system: str, code: str) -> tuple[str, ...]:
    """The procedure groups a procedure code belongs to, sorted."""
    return PROCEDURES.membership(system, code).groups


def vaccine_targets(system: str, code: str) -> tuple[str, ...]:
    """What a vaccine is against, sorted; empty for a code that we do not know."""
    return VACCINES.membership(system, code).groups


def condition_labels() -> dict[str, str]:
    """Condition group -> our label."""
    return dict(CONDITIONS.labels)


def procedure_labels() -> dict[str, str]:
    """Procedure group -> our label."""
    return dict(PROCEDURES.labels)


def vaccine_labels() -> dict[str, str]:
    """What a vaccine can be against -> our label."""
    return dict(VACCINES.labels)
