"""Writes `docs/hipaa.md` from the policy: `python -m privacy.docs` from the repository's root."""

# ruff: noqa: E501 - the lines of the page
from pathlib import Path

from privacy.dicom.tables import PROFILE
from privacy.explain import Identifier, identifiers
from privacy.policy import Policy, load_policy

PAGE = Path("docs/hipaa.md")


def hipaa(policy: Policy) -> str:
    """The eighteen identifiers, and the rules that take each out."""
    head = [
        "# The 18 identifiers and the rules that remove them",
        "",
        "Made from the policy by `python -m privacy.docs`; a test fails when it is stale. Letters are those of 45 CFR 164.514(b)(2)(i).",
        f"Policy: `{policy.id}` version {policy.version}, `{policy.digest}`.",
        "",
        "DICOM metadata, where an archive is asked for them, are an allow-list of their own: numbers and words of how a series was acquired, and no attribute that",
        f"PS3.15 Table E.1-1 lists ({len(PROFILE)} rows) but as a yes or no ([imaging](imaging.md)).",
        "",
        "Beside these rules hold for every category: no free text passes whatever it holds, unknown elements, extensions and contained resources are dropped,",
        "resource ids become random pseudonyms, dates become relative times, ages stop at 90. *Places* counts the paths at which the rules apply; a rule",
        "with a word in brackets changes what it finds (`twinport policy explain PATH` says how), every other one leaves it out.",
        "",
        "| | identifier | places | rules (`section.key` of the policy) |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_row, identifiers(policy))]) + "\n"


def _row(found: Identifier) -> str:
    shown = ", ".join(f"`{rule}`{f' ({action})' if action else ''}" for rule, action in found.rules)
    text = " ".join(filter(None, [shown, found.elsewhere]))
    return f"| {found.letter} | {found.name} | {len(found.places) or ''} | {text} |"


if __name__ == "__main__":
    PAGE.write_text(hipaa(load_policy("safe-harbor")), encoding="utf-8")
