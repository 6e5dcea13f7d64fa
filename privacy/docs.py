"""Writes `docs/hipaa.md` from the policy: `python -m privacy.docs` from the repository's root."""

# ruff: noqa: E501 - the lines of the page
from pathlib import Path

from privacy.explain import HIPAA, categories, leaves
from privacy.policy import Policy, judged_by, load_policy

PAGE = Path("docs/hipaa.md")

# Identifiers that no single R4 element of the types in scope is made for, and where they hide.
ELSEWHERE = {
    "E": "As D: R4 holds telephone, fax and e-mail in one element.",
    "F": "As D: R4 holds telephone, fax and e-mail in one element.",
    "J": "And every identifier, see H.",
    "L": "No element of the types in scope is made for them. Text, extensions and identifiers, where they could stand, are left out.",
    "O": "And every other address on the web, see N.",
    "P": "No element of the types in scope is made for them. Attachments, sampled data and media are left out.",
}

# Verdicts that change an identifier of a category instead of leaving it out.
CHANGED = {"offset": "C", "birth": "C", "death": "C", "age": "C", "pseudonym": "R", "reference": "R",
           "subject": "R", "about": "R", "medication": "R"}  # fmt: skip


def hipaa(policy: Policy) -> str:
    """The eighteen identifiers, and the rules that take each out."""
    rules: dict[str, set[str]] = {letter: set() for letter in HIPAA}
    places = dict.fromkeys(HIPAA, 0)
    for leaf, verdict in leaves(policy):
        section, key = judged_by(policy, leaf)
        changed = CHANGED.get(verdict.action)
        for letter in (changed,) if changed else categories(verdict):
            mark = f" ({verdict.action})" if changed else ""
            rules[letter].add(f"`{section}.{key}`{mark}")
            places[letter] += 1
    head = [
        "# The 18 identifiers and the rules that remove them",
        "",
        "Made from the policy by `python -m privacy.docs`; a test fails when it is stale. Letters are those of 45 CFR 164.514(b)(2)(i).",
        f"Policy: `{policy.id}` version {policy.version}, `{policy.digest}`.",
        "",
        "Beside these rules hold for every category: no free text passes whatever it holds, unknown elements, extensions and contained resources are dropped,",
        "resource ids become random pseudonyms, dates become relative times, ages stop at 90. *Places* counts the paths at which the rules apply; a rule",
        "with a word in brackets changes what it finds (`twinport policy explain PATH` says how), every other one leaves it out.",
        "",
        "| | identifier | places | rules (`section.key` of the policy) |",
        "|---|---|---|---|",
    ]
    return (
        "\n".join([*head, *(_row(letter, places[letter], rules[letter]) for letter in HIPAA)])
        + "\n"
    )


def _row(letter: str, places: int, rules: set[str]) -> str:
    shown = ", ".join(sorted(rules))
    text = " ".join(filter(None, [shown, ELSEWHERE.get(letter, "")]))
    return f"| {letter} | {HIPAA[letter]} | {places or ''} | {text} |"


if __name__ == "__main__":
    PAGE.write_text(hipaa(load_policy("safe-harbor")), encoding="utf-8")
