"""The ledger and the keys: state, verification, one entry, the file to hand out."""

from collections.abc import Iterator

import orjson
from flask import Response, render_template

from service.pages import words
from service.pages.officer.frame import OFFICER, note, office, officer, only
from service.pages.officer.twins import entry_words
from service.stores.audit import AuditFilter
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure, LedgerCheck
from service.web.services import services

VERIFICATIONS = 10
LINES = "application/x-ndjson"


@officer.get("/ledger")
@OFFICER
def ledger() -> str:
    only()
    return _page(None)


@officer.post("/ledger/verification")
@OFFICER
def verify_now() -> str:
    """Verify the whole ledger now and show what was found."""
    return _page(services().runs.verify_ledger(principal()))


@officer.get("/ledger/<int:seq>")
@OFFICER
def entry(seq: int) -> str:
    only()
    desk = office()
    found = desk.proofs.entry(seq)
    if found is None:
        raise WebError(Failure.NOT_FOUND)
    plain = {key: value for key, value in found.entry.items() if key != "counts"}
    return render_template(
        "officer/entry.html",
        proven=found,
        head=entry_words(found),
        text=orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode(),
        counts=len(found.entry.get("counts", ())),
        last=desk.index.last(),
    )


@officer.get("/ledger/<int:seq>.jsonl")
@OFFICER
def entry_file(seq: int) -> Response:
    """One entry exactly as signed: an excerpt that verifies offline."""
    line = office().ledger.entry(seq)
    if line is None:
        raise WebError(Failure.NOT_FOUND)
    return _download(iter([line + b"\n"]), f"ledger-{seq}.jsonl")


@officer.get("/ledger.jsonl")
@OFFICER
def ledger_file() -> Response:
    """The whole ledger, closed by a signed line."""
    desk = office()
    note("ledger-export")
    return _download(desk.export(), "ledger.jsonl")


def _page(check: LedgerCheck | None) -> str:
    desk = office()
    verified = desk.audit.search(AuditFilter(action="ledger-verify"), limit=VERIFICATIONS)
    return render_template(
        "officer/ledger.html",
        check=check,
        state=services().runs.ledger_state(),
        events=sorted((words.word("event", e), e, n) for e, n in desk.index.events().items()),
        verified=[(event, *event.outcome.partition(":")[::2]) for event in verified],
        keys=desk.keys(),
        epochs=[name for name in desk.vault.load_keys() if name != "root"],
        sealed=desk.vault.count(),
    )


def _download(lines: Iterator[bytes], name: str) -> Response:
    response = Response(lines, content_type=LINES)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
