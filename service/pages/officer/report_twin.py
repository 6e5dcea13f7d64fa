"""The audit report of one twin. It names no day: with the twin's file that would give all dates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from privacy.explain import Amount, amounts_to
from service.office import Office
from service.office.archive import Named
from service.office.blocks import Amounts, Block, Checks, Facts, Report, Section, Table, Text
from service.office.proofs import Proven
from service.pages import words
from service.pages.officer.report_parts import (
    WHAT_THIS_IS,
    place_table,
    policy_section,
    remains_section,
    share,
    verify_steps,
)
from service.pages.officer.twins import action_words, entry_words, sums, use_words
from service.risk.settings import RiskError
from service.stores.audit import AuditFilter

Json = Mapping[str, Any]
HOLDS, HOLDS_NOT = "every check below holds", "SOMETHING DOES NOT HOLD, SEE BELOW"
SILENT = frozenset({"report-made", "ledger.read"})  # reading the report must not change it


def twin_report(office: Office, pseudonym: str, numbers: Sequence[int]) -> Report:
    """From the entries about a twin and what is held of it."""
    found = (office.proofs.entry(number) for number in numbers)
    proven = [entry for entry in found if entry is not None]
    excerpt = b"".join(entry.line + b"\n" for entry in proven)
    return Report(
        title="Privacy audit report of one twin",
        subject=f"Twin {pseudonym}",
        sections=[
            _short(pseudonym, proven),
            policy_section(_policies(office, proven)),
            _done(proven),
            _gate(proven),
            _risk(office, pseudonym, proven),
            _proof(office, proven),
            _uses(office, pseudonym, proven),
            verify_steps(
                "The signed entries this report rests on are attached to the PDF "
                "(ledger-excerpt.jsonl), with the public keys (jwks.json); on the page they "
                "stand at its end."
            ),
            remains_section(),
        ],
        files={"ledger-excerpt.jsonl": excerpt, "jwks.json": orjson.dumps(office.jwks())},
        excerpt=excerpt.decode(),
    )


def _short(pseudonym: str, proven: Sequence[Proven]) -> Section:
    made = [entry for entry in proven if entry.entry.get("event") == "twin-made"]
    blocked = sum(entry_words(entry)["blocked"] for entry in proven)
    erased = [entry for entry in proven if entry.entry.get("event") == "erased"]
    newest = made[-1].entry if made else {}
    back = f"erased, as entry {erased[-1].entry['seq']} certifies" if erased else "held, sealed"
    sound = all(entry.ok for entry in proven)
    blocks: list[Block] = [
        Text(WHAT_THIS_IS),
        Facts(
            [
                ("Twin", pseudonym),
                ("Versions made", str(len(made))),
                ("Blocked by the gate", f"{blocked} times" if blocked else "never"),
                ("Newest document", str(newest.get("document", "none"))),
                ("Way back to the person", back),
                ("Proof", HOLDS if sound else HOLDS_NOT),
            ],
            frozenset({"Twin", "Newest document"}),
        ),
    ]
    if newest:
        blocks += [Text("Of the elements of the newest record:"), Amounts(sums([newest]))]
    return Section("In short", blocks)


def _policies(office: Office, proven: Sequence[Proven]) -> list[Named]:
    digests = (entry.entry.get("policy", {}).get("digest") for entry in proven)
    return office.archive.named(Counter(digest for digest in digests if digest))


def _done(proven: Sequence[Proven]) -> Section:
    """Place by place, of the newest record; earlier ones by their sums."""
    made = [entry.entry for entry in proven if entry.entry.get("event") == "twin-made"]
    if not made:
        return Section("What was done", [Text("No version of this twin was made.")])
    newest, blocks = made[-1], list[Block]()
    if len(made) > 1:
        rows = [(str(entry["seq"]), *(f"{n:,}" for n in sums([entry]).values())) for entry in made]
        heads = ("Entry", "Removed", "Changed", "Kept")
        blocks.append(
            Table("Every version", heads, rows, (2, 3, 3, 3), right=frozenset({0, 1, 2, 3}))
        )
    for amount in (Amount.REMOVED, Amount.CHANGED, Amount.KEPT):
        items = [i for i in newest["counts"] if amounts_to(i["action"]) is amount]
        items.sort(key=lambda item: (item["type"], item["path"], item["action"]))
        places = [(f"{i['type']}.{i['path']}", action_words(i["action"]), i["n"]) for i in items]
        if places:
            caption = f"{amount.value.capitalize()}, entry {newest['seq']}"
            blocks.append(place_table(caption, places))
    blocks += _refused(newest)
    return Section("What was done", blocks)


def _refused(entry: Json) -> list[Block]:
    found = entry.get("refusals", ())
    if not found:
        return [Text("No resource was refused.")]
    rows = [(item["type"], words.plain(item["reason"]).lower(), str(item["n"])) for item in found]
    heads = ("Resource type", "Why it was refused", "How many")
    return [Table("Resources refused as a whole", heads, rows, (4, 7, 2), right=frozenset({2}))]


def _gate(proven: Sequence[Proven]) -> Section:
    rows = [
        (f"Entry {entry.entry['seq']}", _gate_words(entry))
        for entry in proven
        if entry.entry.get("gate")
    ]
    return Section(
        "The gate",
        [
            Text(
                "Before a twin is signed, its finished bytes are searched for every identifying "
                "value of its record: as written, folded, backwards, in base64, hexadecimal, "
                "percent encoding and as unkeyed hashes; then for the forms of dates, numbers and "
                "addresses. One hit stops the twin."
            ),
            Facts(rows),
        ],
    )


def _gate_words(proven: Proven) -> str:
    hits = "; ".join(f"{hit['path']}: {hit['rule']}" for hit in proven.entry["gate"]["hits"])
    return f"{entry_words(proven)['gate']}{f' ({hits})' if hits else ''}"


def _risk(office: Office, pseudonym: str, proven: Sequence[Proven]) -> Section:
    rows = []
    for entry in proven:
        risk = entry.entry.get("risk")
        if risk:
            met = "met" if risk["met"] else "not met"
            alike = f"{risk['own']} of {risk['twins']} twins alike by {', '.join(risk['knows'])}"
            rows.append((f"Entry {entry.entry['seq']}", f"{alike}; wanted {risk['wanted']}: {met}"))
    blocks: list[Block] = [
        Text("As bound into the signed entries, in the moment each version was made:"),
        Facts(rows or [("", "no entry holds a measure")]),
    ]
    try:
        now = office.measured.twin(pseudonym)
    except RiskError:
        return Section("Risk", blocks)
    panel = now["panel"]
    needed = f"{panel['needed']} single it out" if panel["needed"] else "they do not single it out"
    facts = [
        ("Twins alike (k)", f"{now['k']}; wanted {now['wanted']}"),
        ("Chance to be recognised", share(now["prosecutor"])),
        ("Results of its fullest day", f"{panel['values']}; {needed}"),
        ("Compared with", words.counted(now["compared"] - 1, "other twin")),
    ]
    return Section("Risk", [*blocks, Text("Among the twins held now:"), Facts(facts)])


def _proof(office: Office, proven: Sequence[Proven]) -> Section:
    blocks: list[Block] = []
    for entry in proven:
        head = entry_words(entry)
        rows = [
            ("Digest of the entry", entry.digest),
            ("Entry before it", str(entry.entry.get("prev", ""))),
            ("Signed by", entry.kid or "unknown"),
            ("Software", str(entry.entry.get("software", "not stated"))),
            ("Time told", str(entry.entry.get("time", "not stated"))),
        ]
        mono = frozenset({"Digest of the entry", "Entry before it", "Signed by"})
        blocks += [
            Text(f"Entry {head['seq']}: {head['event']}", strong=True),
            Facts(rows, mono),
            Checks(entry.checks),
        ]
    keys = [
        (key.kid, "signs now" if not key.until else "retired: still verifies what it signed")
        for key in office.keys().signing
    ]
    heads = ("Thumbprint (RFC 7638)", "State")
    blocks.append(
        Table("Public keys of this installation", heads, keys, (6, 5), mono=frozenset({0}))
    )
    return Section("Proof", blocks)


def _uses(office: Office, pseudonym: str, proven: Sequence[Proven]) -> Section:
    counts = office.audit.counts(AuditFilter(object=pseudonym))
    rows = [
        (*use_words(role, action), f"{n:,}")
        for (role, action), n in sorted(counts.items())
        if action not in SILENT
    ]
    events = [entry for entry in proven if str(entry.entry.get("event")).startswith("reidentif")]
    asked = [
        (f"Entry {e.entry['seq']}", f"{entry_words(e)['event']} ({e.entry.get('reason')})")
        for e in events
    ]
    heads = ("Who", "What", "How often")
    done = Table("", heads, rows, (3, 8, 2), right=frozenset({2}))
    blocks: list[Block] = [
        done if rows else Text("Nobody used it."),
        Text("Reading this page and making this report are left out."),
    ]
    if asked:
        blocks += [Text("Re-identification", strong=True), Facts(asked)]
    return Section("Who used it", blocks)
