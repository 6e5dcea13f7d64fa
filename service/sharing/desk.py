"""Makes, answers and ends health links. The key of a link is made here, used once, handed out.

A long-term link (`L`) is brought up to date by whoever presents it: nobody else has its key.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson

from mappings.to_fhir.phr import signed_document
from mappings.to_fhir.twin_bundle import ips_bundle
from privacy.pseudonyms import new_pseudonym
from privacy.signing import b64, envelope
from service.auth.secret_hashes import keyed_hash, plain_hash
from service.pipeline.runtime import Runtime
from service.pipeline.versions import ModelVersions
from service.portable import jwe
from service.portable.errors import PortableError
from service.sharing import link as shl
from service.stores.audit import AuditStore
from service.stores.database import utc_now
from service.stores.links import ATTEMPTS, Answer, LinkFile, LinkStore, StoredLink
from service.stores.twins import StoredTwin, TwinStore
from twin_engine.document import read

PATH = "/shl"
VIEWER = "/view"  # our page that opens links, in the browser alone
FHIR = "application/fhir+json"
SHORTEST_PASSCODE, LONGEST_PASSCODE, LONGEST_RECIPIENT = 4, 64, 200
LONGEST_LIFE = timedelta(days=366)

Content = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the giver chooses. `lasts`: how long from now; None: until it is revoked."""

    label: str = field(default="", repr=False)
    passcode: str = field(default="", repr=False)
    lasts: timedelta | None = timedelta(days=30)
    long_term: bool = False
    single: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """A new link. `link` opens everything: it is shown once and never kept."""

    id: str
    link: shl.Link = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A link as its giver sees it later. `ended`: why it opens nothing; empty while it does."""

    id: str
    label: str = field(repr=False)
    version: int
    flag: str
    created: datetime
    expires: datetime | None
    ended: str
    attempts_left: int
    opened: int


@dataclass(frozen=True, slots=True)
class Use:
    at: datetime
    outcome: str
    recipient: str = field(repr=False)


class Desk:
    """One per process; holds no link."""

    def __init__(self, runtime: Runtime, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._sealer = runtime.sealer
        self._versions = runtime.versions
        self._hash_key = runtime.vault.key_for("health-links")
        self._twins = TwinStore(runtime.database)
        self._links = LinkStore(runtime.database, clock)
        self._audit = AuditStore(runtime.database, clock)

    # -- the giver ---------------------------------------------------------------------------------

    def make(self, twin: str, wish: Wish, base: str, role: str, subject: str) -> Made:
        """`base`: our public address; `role` and `subject`: who gives, for the audit."""
        _check(wish)
        stored = self._stored(twin)
        token, key, identity = b64(secrets.token_bytes(32)), jwe.new_key(), new_pseudonym()
        flag = shl.flags(long_term=wish.long_term, passcode=bool(wish.passcode), single=wish.single)
        now = self._clock()
        expires = None if wish.lasts is None else now + wish.lasts
        url = f"{base.rstrip('/')}{PATH}/{token}"
        if len(url) > shl.LONGEST_URL:
            raise PortableError("the service's public address is too long for a health link")
        row = StoredLink(
            id=identity,
            twin=twin,
            version=stored.about.version,
            flag=flag,
            sealed_label=self._seal(wish.label, identity),
            attempts_left=ATTEMPTS,
            created=now,
            expires=expires,
            revoked=None,
        )
        passcode = self._passcode(wish.passcode)
        self._links.add(
            row,
            plain_hash(token),
            passcode(identity) if wish.passcode else None,
            _sealed(_contents(stored, self._versions, single=wish.single), key),
        )
        self._note(role, subject, "link-made", twin)
        return Made(identity, shl.Link(url, key, flag, wish.label, expires))

    def update(
        self, link: shl.Link, role: str, subject: str, twin: str | None = None
    ) -> int | None:
        """Put the newest version under a long-term link; which one it is, None where the link
        opens nothing any more, is not long-term, or is not this twin's."""
        token = link.url.rpartition("/")[2]
        found = self._links.by_token(plain_hash(token))
        if found is None or shl.LONG_TERM not in found.flag or twin not in (None, found.twin):
            return None
        stored = self._stored(found.twin)
        content = _contents(stored, self._versions, single=shl.SINGLE in found.flag)
        if not self._links.replace(found.id, stored.about.version, _sealed(content, link.key)):
            return None
        self._note(role, subject, "link-updated", found.twin)
        return stored.about.version

    def links(self, twin: str) -> list[Shown]:
        now = self._clock()
        return [
            Shown(
                id=one.id,
                label=self._open(one.sealed_label, one.id),
                version=one.version,
                flag=one.flag,
                created=one.created,
                expires=one.expires,
                ended=one.ended(now),
                attempts_left=one.attempts_left,
                opened=self._links.openings(one.id),
            )
            for one in self._links.of_twin(twin)
        ]

    def uses(self, twin: str, identity: str) -> list[Use]:
        """Who opened a link, in their own words; none where it is not this twin's."""
        if identity not in {one.id for one in self._links.of_twin(twin)}:
            return []
        return [
            Use(use.at, use.outcome, self._open(use.sealed_recipient, identity))
            for use in self._links.uses(identity)
        ]

    def revoke(self, twin: str, identity: str, role: str, subject: str) -> bool:
        done = self._links.revoke(twin, identity)
        if done:
            self._note(role, subject, "link-revoked", twin)
        return done

    # -- whoever holds the link --------------------------------------------------------------------

    def ask(self, token: str, recipient: str, passcode: str | None) -> Answer:
        """Every asking is judged and written down in one transaction."""
        token_hash = plain_hash(token)
        known = self._links.by_token(token_hash)
        sealed = self._seal(recipient[:LONGEST_RECIPIENT], known.id) if known else b""
        answer = self._links.ask(
            token_hash, None if passcode is None else self._passcode(passcode), sealed
        )
        if answer.link is not None:
            self._note("recipient", answer.link.id, "link-opened", answer.link.twin)
        return answer

    def files(self, link: StoredLink) -> Sequence[LinkFile]:
        return self._links.files(link.id)

    def file(self, identity: str, number: int) -> LinkFile | None:
        return self._links.file(identity, number)

    def sweep(self) -> int:
        return self._links.sweep()

    # -- pieces ------------------------------------------------------------------------------------

    def _stored(self, twin: str) -> StoredTwin:
        stored = self._twins.get(twin)
        if stored is None:
            raise PortableError("no such twin is kept here")
        return stored

    def _passcode(self, said: str) -> Callable[[str], bytes]:
        """A hash that only this installation can compute: what is stored can't be guessed from."""
        return lambda identity: keyed_hash(self._hash_key, f"passcode:{identity}", said)

    def _seal(self, text: str, identity: str) -> bytes:
        return self._sealer.seal(text.encode(), _context(identity))

    def _open(self, sealed: bytes, identity: str) -> str:
        return self._sealer.open(sealed, _context(identity)).decode()

    def _note(self, role: str, subject: str, action: str, twin: str) -> None:
        self._audit.record(role=role, subject=subject, action=action, outcome="done", object=twin)


def viewer_of(base: str) -> str:
    """What stands before `#` in our links, so that any browser opens them."""
    return f"{base.rstrip('/')}{VIEWER}"


def _context(identity: str) -> bytes:
    return f"health-link:{identity}".encode()


def _check(wish: Wish) -> None:
    if len(wish.label) > shl.LONGEST_LABEL:
        raise PortableError(f"a label has at most {shl.LONGEST_LABEL} characters")
    if wish.passcode and not SHORTEST_PASSCODE <= len(wish.passcode) <= LONGEST_PASSCODE:
        raise PortableError(f"a passcode has {SHORTEST_PASSCODE} to {LONGEST_PASSCODE} characters")
    if wish.lasts is not None and not timedelta(0) < wish.lasts <= LONGEST_LIFE:
        raise PortableError("a link lasts at most a year; make it anew, or leave the end out")


def _contents(stored: StoredTwin, versions: ModelVersions, *, single: bool) -> list[Content]:
    """The patient summary, and the signed twin, so that its receiver can verify it."""
    document = read(stored.payload).document
    summary = (FHIR, orjson.dumps(ips_bundle(document, versions.cards(document))))
    if single:
        return [summary]
    file = envelope(stored.payload, {"jws": stored.proof.decode()})
    return [summary, (FHIR, orjson.dumps(signed_document(document, file)))]


def _sealed(contents: Sequence[Content], key: bytes) -> list[Content]:
    return [(kind, jwe.seal(content, key, kind).encode()) for kind, content in contents]
