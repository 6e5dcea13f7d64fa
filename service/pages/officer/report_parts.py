"""Parts that every report has: what is proved and how anybody checks it, policies, what remains."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from privacy.explain import Amount
from service.office.archive import Named
from service.office.blocks import Block, Facts, Section, Steps, Table, Text
from service.pages import words
from service.pages.officer.twins import action_words
from service.stores.ledger_index import Place

Json = Mapping[str, Any]
ORDER = (Amount.REMOVED, Amount.CHANGED, Amount.KEPT)
WHAT_THIS_IS = (
    "This report stands alone: it says what was done, under which rules, what proves it, and how "
    "to check that proof without Twinport's operator. It holds counts, names of places, digests "
    "and pseudonyms, and no value of any patient."
)
REMAINS = (
    "Laboratory series single people out: who holds the hospital's own database, or several of a "
    "patient's results, can recognise a twin by its values.",
    "One known date opens all dates of a twin, because they are counted from one sealed zero.",
    "Twins are pseudonymous and not anonymous: the vault can lead back, under two people's "
    "decision, until that way is erased.",
    "Backups of the database, results already written to a FHIR server and what recipients know "
    "are beyond the reach of an erasure.",
)


def share(value: float) -> str:
    return words.percent(value) if value else "0 %"


def policy_section(policies: Sequence[Named]) -> Section:
    """Each with how many entries were made under exactly it."""
    blocks: list[Block] = []
    for policy, name, entries, digest in policies:
        blocks.append(Text(name, strong=True))
        made = words.counted(entries, "entry", "entries")
        rows = [("Entries made under it", made), ("Digest", digest)]
        if policy is not None:
            rows += [
                ("Supports", policy.supports),
                ("Does not support", policy.does_not_support),
                ("What remains", policy.residual),
            ]
        blocks.append(Facts(rows, frozenset({"Digest"})))
    return Section("Policy", blocks)


def place_table(caption: str, rows: Iterable[tuple[str, str, int]]) -> Table:
    """Element, what was done, how often."""
    cells = [(element, what, f"{n:,}") for element, what, n in rows]
    heads = ("Element (FHIR R4)", "What was done", "How often")
    right, mono = frozenset({2}), frozenset({0})
    return Table(caption, heads, cells, (9, 8, 3), right=right, mono=mono)


def type_table(places: Iterable[Place]) -> Table:
    sums: dict[str, dict[Amount, int]] = {}
    for place in places:
        found = sums.setdefault(place.type, dict.fromkeys(ORDER, 0))
        found[place.amount] += place.leaves
    rows = [
        (kind, *(f"{found[amount]:,}" for amount in ORDER)) for kind, found in sorted(sums.items())
    ]
    heads = ("Resource type", "Removed", "Changed", "Kept")
    return Table("By resource type", heads, rows, (6, 3, 3, 3), right=frozenset({1, 2, 3}))


def placed(places: Iterable[Place]) -> list[tuple[str, str, int]]:
    return [(f"{p.type}.{p.path}", action_words(p.action), p.leaves) for p in places]


def risk_blocks(found: Json) -> list[Block]:
    """What `RiskDesk.held` measured, for reading."""
    classes = found["classes"]
    level = next(one for one in found["thresholds"] if one["chosen"])
    known = ", ".join(words.word("trait", name) for name in found["quasiIdentifiers"])
    rows = [
        ("Twins held", f"{found['twins']:,}"),
        ("Taken to be known outside", known),
        ("Smallest class (k)", f"{classes['k']:,}; wanted {level['k']}"),
        ("In smaller classes than wanted", share(level["below"])),
        ("Alone in their class", f"{classes['unique']:,}"),
        ("Prosecutor's risk", f"{share(classes['prosecutor_mean'])} on average, "
         f"{share(classes['prosecutor_worst'])} at worst"),
        ("Unique in the population", _population(found["population"])),
    ]  # fmt: skip
    return [Text(f"Under {found['policy']}", strong=True), Facts(rows), *_attacks(found["attacks"])]


def _population(found: Json | None) -> str:
    if found is None:
        return "not estimated: no population was stated"
    return (
        f"about {found['uniques']:g} of {found['size']:,} ({found['estimator']}, sampling fraction "
        f"{found['samplingFraction']:.3g}; {found['source']})"
    )


def _attacks(attacks: Sequence[Json]) -> list[Block]:
    if not attacks:
        return []
    rows = [
        (
            str(a["known"]),
            share(a["success"]),
            f"{share(a['low'])} to {share(a['high'])}",
            share(a["unicity"]),
        )
        for a in attacks
    ]
    heads = ("Facts known", "Finds the right twin", "95 % interval", "Only one fits")
    right = frozenset({0, 1, 2, 3})
    return [Table("A simulated attacker who has heard facts without dates", heads, rows,
                  (2, 3, 4, 3), right=right)]  # fmt: skip


def verify_steps(files: str) -> Section:
    return Section(
        "How to check this without us",
        [
            Text(files),
            Steps(
                (
                    "Get the issuer's public keys by a way of your own (jwks.json, published at "
                    "/.well-known/jwks.json), and compare their thumbprints with those above.",
                    "With Twinport, offline: twinport ledger verify FILE --keys jwks.json (add "
                    "--excerpt for single entries). It ends with exit code 7 if anything was "
                    "changed, removed, put in another order, repeated or cut off.",
                    "With any other software: each line is canonical JSON; head is a detached JWS "
                    "(RFC 7515, RFC 7797; Ed25519) over exactly the bytes of entry, and prev the "
                    "SHA-256 of the entry before it.",
                    "A twin's file names its entry in its signature: twinport verify twin.json "
                    "--keys jwks.json.",
                )
            ),
        ],
    )


def remains_section() -> Section:
    return Section("What remains", [Steps(REMAINS)])
