"""Everything that is held about one twin, in open formats: what a person who leaves takes along.

What leads back to the person (the sealed record in the vault) is not among it: it holds nothing but
the pairs of pseudonyms and the source's own ids, and whoever gets them can undo the pseudonyms.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import orjson

from mappings.to_fhir.twin_bundle import ips_bundle, twin_bundle
from privacy.signing import envelope
from service.patient.disputes import Disputes
from service.pipeline.package import package
from service.pipeline.runtime import Runtime
from service.portable import archive
from service.sharing.desk import Desk
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex
from service.stores.reviews import Review, ReviewStore
from service.stores.runs import RunStore
from service.stores.twins import StoredTwin, TwinStore
from twin_engine.document import read
from twin_engine.tables import LONG, long_rows

Json = Mapping[str, Any]
MOST = 1_000_000  # audit events: all there are
README = "README.txt"


def everything(runtime: Runtime, twin: str) -> list[tuple[str, bytes]] | None:
    """Files by name, the same for the same content; None where no such twin is kept here."""
    newest = TwinStore(runtime.database).get(twin)
    if newest is None:
        return None
    return [
        (README, resources.files("service.patient").joinpath("everything.txt").read_bytes()),
        *_versions(runtime, twin),
        *_readable(runtime, newest),
        ("record.sphr", package(runtime, twin) or b""),
        ("ledger.jsonl", _lines(SqlLedgerStore(runtime.database).entries(_about(runtime, twin)))),
        ("keys.json", _spelled(runtime.jwks())),
        ("uses.json", _spelled(_uses(runtime, twin))),
        ("links.json", _spelled(_links(runtime, twin))),
        ("reviews.json", _spelled(_reviews(runtime, twin))),
        ("disputes.json", _spelled(_disputes(runtime, twin))),
        ("consent.json", _spelled(_consent(runtime, twin))),
    ]


def as_archive(files: Sequence[tuple[str, bytes]]) -> bytes:
    return archive.pack(files)


def _versions(runtime: Runtime, twin: str) -> Iterator[tuple[str, bytes]]:
    """Each as it was signed."""
    store = TwinStore(runtime.database)
    for about in store.versions(twin):
        stored = store.get(twin, about.version)
        assert stored is not None
        proof = {"jws": stored.proof.decode()}
        yield f"versions/twin-{about.version}.json", envelope(stored.payload, proof)


def _readable(runtime: Runtime, newest: StoredTwin) -> Iterator[tuple[str, bytes]]:
    """The newest version in the forms that others read."""
    document = read(newest.payload).document
    cards = runtime.versions.cards(document)
    about = newest.about
    days = RunStore(runtime.database).days_since(about.pseudonym, about.version, about.created)
    yield "fhir.json", _spelled(twin_bundle(document, cards, days))
    yield "ips.json", _spelled(ips_bundle(document, cards, days_since=days))
    yield "long.csv", _csv(document)


def _csv(document: Json) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, LONG, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in long_rows([document]):
        cells = row._asdict().items()
        writer.writerow({name: "" if cell is None else cell for name, cell in cells})
    return text.getvalue().encode()


def _about(runtime: Runtime, twin: str) -> Sequence[int]:
    return LedgerIndex(runtime.database).about(twin)


def _uses(runtime: Runtime, twin: str) -> list[Json]:
    """Who did what with it, by role: never by name."""
    return [
        {"time": event.time, "role": event.role, "action": event.action, "outcome": event.outcome}
        for event in AuditStore(runtime.database).about(twin, MOST)
    ]


def _links(runtime: Runtime, twin: str) -> list[Json]:
    """Links that were given, and who opened them, in their own words. Keys are kept nowhere."""
    desk = Desk(runtime)
    return [
        {
            "label": link.label,
            "version": link.version,
            "created": link.created,
            "expires": link.expires,
            "state": link.ended or "open",
            "asked": [
                {"time": use.at, "outcome": use.outcome, "recipient": use.recipient}
                for use in desk.uses(twin, link.id)
            ],
        }
        for link in desk.links(twin)
    ]


def _disputes(runtime: Runtime, twin: str) -> list[Json]:
    """What the person said is wrong, by the pseudonym of its source."""
    store = TwinStore(runtime.database)

    def document(pseudonym: str, version: int | None) -> Json:
        stored = store.get(pseudonym, version)
        assert stored is not None
        return read(stored.payload).document

    return [
        {
            "source": one.dispute.place.source,
            "part": one.dispute.place.part,
            "version": one.dispute.version,
            "reason": one.dispute.reason,
            "state": one.state.value,
        }
        for one in Disputes(runtime.database, document).of(twin)
    ]


def _consent(runtime: Runtime, twin: str) -> list[Json]:
    """What the twin may be used for."""
    return [
        {"purpose": one.purpose.id, "allowed": one.allowed, "decided": one.decided}
        for one in runtime.consents.of_twin(twin)
    ]


def _reviews(runtime: Runtime, twin: str) -> list[Json]:
    """What clinicians thought of the answers, without who they are."""
    return [_review(one) for one in ReviewStore(runtime.database).of_twins([twin])]


def _lines(lines: Iterator[bytes] | Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _spelled(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n"


def _review(found: Review) -> Json:
    return {
        "model": found.about.model,
        "version": found.model_version,
        "snapshot": found.about.snapshot,
        "opened": found.opened,
        "decided": found.decided,
        "decision": found.decision,
        "reason": found.reason,
    }
