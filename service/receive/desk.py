"""Takes in what was signed elsewhere: verified first, kept as foreign, changing nothing of ours."""

from dataclasses import dataclass
from typing import Any

from privacy.errors import PrivacyError
from privacy.signing import VerificationKeys, envelope, open_envelope, read_header, verify
from service.pipeline.runtime import Runtime
from service.portable import archive, sphr
from service.portable.errors import PortableError
from service.receive.errors import NotHeldError, ReceiveError
from service.receive.trust import OWN, Trust
from service.stores.audit import AuditStore
from service.stores.errors import ConflictError
from service.stores.foreign import ForeignStore, ForeignTwin
from service.stores.twins import TwinStore
from twin_engine.document import DocumentError, Twin, read

LARGEST = 64 << 20
ENCRYPTED = "it is encrypted: open it with `twinport unlock`, then receive what is inside"


@dataclass(frozen=True, slots=True)
class Received:
    """`new`: False where exactly this is held already. `follows`: the version of the same twin
    that it names as its parent, where that one is held here; `ours`: whether that is our own."""

    twin: Twin
    issuer: str
    kid: str
    new: bool
    follows: int | None
    ours: bool

    def as_dict(self) -> dict[str, Any]:
        return {
            "twin": self.twin.id,
            "version": self.twin.version,
            "issuer": self.issuer,
            "signedBy": self.kid,
            "new": self.new,
            "follows": self.follows,
            "followsOurs": self.ours,
            "assessments": len(self.twin.assessments),
        }


@dataclass(frozen=True, slots=True)
class _Checked:
    twin: Twin
    issuer: str
    kid: str
    proof: str


class Reception:
    def __init__(self, runtime: Runtime) -> None:
        database = runtime.database
        self.trust = Trust(database, runtime.jwks())
        self._own = TwinStore(database)
        self._held = ForeignStore(database)
        self._audit = AuditStore(database)

    def receive(self, data: bytes, role: str, subject: str) -> Received:
        """A twin file or a package. Raises `ReceiveError` with one sentence."""
        found = self._checked(data)
        twin = found.twin
        known = self._own.by_digest(twin.digest)
        if known is not None or self._held.by_digest(twin.digest) is not None:
            return Received(twin, found.issuer, found.kid, False, None, known is not None)
        if found.issuer == OWN:
            raise ReceiveError("it is signed by this installation, which does not know it")
        follows, ours = self._lineage(twin)
        try:
            self._held.add(
                twin=twin.id,
                version=twin.version,
                parent=twin.parent,
                digest=twin.digest,
                issuer=found.issuer,
                kid=found.kid,
                payload=twin.payload,
                proof=found.proof.encode(),
            )
        except ConflictError:
            raise ReceiveError(_FORKED) from None
        self._audit.record(
            role=role, subject=subject, action="twin-received", outcome="done", object=twin.id
        )
        return Received(twin, found.issuer, found.kid, True, follows, ours)

    def held(self) -> list[ForeignTwin]:
        return self._held.all()

    def get(self, twin: str, version: int | None = None) -> ForeignTwin:
        found = self._held.get(twin, version)
        if found is None:
            raise NotHeldError("no such twin from elsewhere is held here; see `twinport receive`")
        return found

    def file(self, twin: str) -> bytes:
        """The newest version, as its issuer signed it."""
        found = self.get(twin)
        return envelope(found.payload, {"jws": found.proof.decode()})

    # -- is it what its issuer signed? ---------------------------------------------------------

    def _checked(self, data: bytes) -> _Checked:
        if len(data) > LARGEST:
            raise ReceiveError(f"it is larger than {LARGEST >> 20} MiB")
        if data[:2] == b"ey" and data.count(b".", 0, 4096):
            raise ReceiveError(ENCRYPTED)
        try:
            return self._package(data) if sphr.is_package(data) else self._file(data)
        except (PrivacyError, PortableError) as error:
            raise ReceiveError(f"not verified: {error}") from None
        except DocumentError as error:
            raise ReceiveError(f"signed, but not a twin we can read: {error}") from None

    def _file(self, data: bytes) -> _Checked:
        payload, proof = open_envelope(data)
        issuer, keys = self._named(proof["jws"])
        verified = verify(proof["jws"], payload, keys)
        return _Checked(read(payload), issuer, verified.kid, proof["jws"])

    def _package(self, data: bytes) -> _Checked:
        """List, twin and ledger by one issuer: parts of two packages are none."""
        listed = archive.unpack(data).get(sphr.SIGNATURE, b"")
        issuer, keys = self._named(listed.decode("ascii", "replace"))
        package = sphr.open_package(data, keys)
        _, proof = open_envelope(package.twin_file)
        kid = read_header(proof["jws"])["kid"]
        return _Checked(package.twin, issuer, kid, proof["jws"])

    def _named(self, signature: str) -> tuple[str, VerificationKeys]:
        issuer = self.trust.issuer(read_header(signature).get("kid"))
        return issuer, self.trust.keys(issuer)

    # -- does it follow? -------------------------------------------------------------------------

    def _lineage(self, twin: Twin) -> tuple[int | None, bool]:
        """The version it follows, and whether that is our own. An older version never comes after
        a newer one, and none beside another."""
        held = self._held.get(twin.id)
        if held is not None and twin.version <= held.version:
            raise ReceiveError(_OLDER if twin.version < held.version else _FORKED)
        ours, foreign = self._parents(twin)
        follows = foreign if ours is None else ours
        if follows is not None:
            if twin.version != follows + 1:
                raise ReceiveError(_STRANGE)
            return follows, ours is not None
        missing_link = held is not None and twin.version == held.version + 1
        if missing_link or self._own.get(twin.id) is not None:
            raise ReceiveError(_STRANGE)
        return None, False

    def _parents(self, twin: Twin) -> tuple[int | None, int | None]:
        """Its parent among our own twins, and among those from elsewhere."""
        own = self._own.by_digest(twin.parent) if twin.parent else None
        held = self._held.by_digest(twin.parent) if twin.parent else None
        return (
            own.about.version if own and own.about.pseudonym == twin.id else None,
            held.version if held and held.twin == twin.id else None,
        )


_OLDER = "a newer version of this twin is held here: an older one is not taken after it"
_FORKED = "another content is held here as this version of the twin: one of the two is not genuine"
_STRANGE = "it claims to follow a version of this twin that is not known here"
