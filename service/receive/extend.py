"""A twin from elsewhere, continued with what is known here: only when somebody says so.

The continuation is a new version of the foreign twin under our signature. It names the version it
continues, recomputes every answer by our models, and stands beside our own twins, in place of none.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from privacy import gate, ledger
from privacy.policy import load_policy
from privacy.signing import envelope
from service.pipeline.make import SOFTWARE, told_in
from service.pipeline.runtime import Runtime
from service.portable import sphr
from service.receive.errors import NotHeldError, ReceiveError
from service.receive.trust import OWN
from service.stores.audit import AuditStore
from service.stores.errors import ConflictError
from service.stores.foreign import ForeignStore, ForeignTwin
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex
from service.stores.twins import StoredTwin, TwinStore
from twin_engine.document import Twin, dump, read, with_assessments
from twin_engine.document.join import Joined, JoinError, join
from twin_engine.models.assess import assess
from twin_engine.state import State

EVENT = "twin-extended"
_OVERTAKEN = "somebody else continued it just now: look at what is held, then do it again"


@dataclass(frozen=True, slots=True)
class Extended:
    twin: Twin
    added: int
    duplicates: int


class Extender:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._held = ForeignStore(runtime.database)
        self._own = TwinStore(runtime.database)
        self._ledger = SqlLedgerStore(runtime.database)
        self._audit = AuditStore(runtime.database)

    def extend(self, foreign: str, local: str, days: int, role: str, subject: str) -> Extended:
        """`days`: from the moment of the twin from elsewhere to that of the local one."""
        base, ours = self._held.get(foreign), self._own.get(local)
        if base is None or ours is None:
            raise NotHeldError("name a twin from elsewhere that is held, and one made here")
        try:
            joined = join(read(base.payload), read(ours.payload), days, SOFTWARE)
        except JoinError as error:
            raise ReceiveError(str(error)) from None
        payload = self._answered(joined)
        checked = self._gate(payload, foreign, role, subject)
        try:
            self._keep(read(payload), base, ours, checked)
        except ConflictError:
            raise ReceiveError(
                "somebody else continued it just now: look at what is held"
            ) from None
        self._audit.record(role=role, subject=subject, action=EVENT, outcome="done", object=foreign)
        return Extended(read(payload), joined.added, joined.duplicates)

    def _answered(self, joined: Joined) -> bytes:
        asked = self._runtime.models()
        answers = assess(State(joined.document), asked)
        return dump(with_assessments(joined.document, answers))

    def _gate(self, payload: bytes, foreign: str, role: str, subject: str) -> gate.GateResult:
        """Both halves were searched for the values of their records where those were at hand.
        Here the whole is searched once more for all that looks like an identifier."""
        found = gate.check(payload, gate.IdentifyingValues(), told_in(payload))
        if not found.passed:
            self._audit.record(
                role=role, subject=subject, action=EVENT, outcome="gate-blocked", object=foreign
            )
            raise ReceiveError(
                "what was joined holds something that looks like an identifier; nothing was signed"
            )
        return found

    def _keep(
        self, twin: Twin, base: ForeignTwin, local: StoredTwin, checked: gate.GateResult
    ) -> None:
        """Ledger, signature and version in one transaction."""
        with self._ledger.alone():
            under = load_policy(local.about.policy)
            entry: dict[str, Any] = {
                "event": EVENT,
                "time": ledger.coarse_time(under, datetime.now(UTC)),
                "policy": under.as_reference(),
                "software": SOFTWARE,
                "twin": twin.id,
                "document": twin.digest,
                "continues": base.digest,
                "with": local.about.digest,
                "gate": checked.as_entry(),
            }
            head = ledger.append(self._ledger, self._runtime.signer, entry)
            signer = self._runtime.signer
            proof = signer.sign(twin.payload, {"ledger": f"{head.seq}:{head.digest}"})
            self._held.add(
                twin=twin.id,
                version=twin.version,
                parent=twin.parent,
                digest=twin.digest,
                issuer=OWN,
                kid=signer.kid,
                payload=twin.payload,
                proof=proof.encode(),
            )

    def package(self, foreign: str) -> bytes:
        """A continuation of ours, to hand on."""
        held = self._held.get(foreign)
        if held is None:
            raise NotHeldError("no such twin from elsewhere is held here; see `twinport receive`")
        if held.issuer != OWN:
            raise ReceiveError("only what was continued here can be packed here: hand on the rest")
        numbers = LedgerIndex(self._database).about(foreign)
        return sphr.build(
            envelope(held.payload, {"jws": held.proof.decode()}),
            self._runtime.versions.cards(read(held.payload).document),
            self._ledger.entries(numbers),
            self._runtime.jwks(),
            self._runtime.signer,
        )
