"""API keys ``twp_<id>_<secret>`` for programs."""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from service.auth.errors import AuthError, AuthErrorCode
from service.auth.principals import ROLE_SCOPES, Kind, Principal, Role, Scope, check_binding
from service.auth.secret_hashes import new_secret, plain_hash, same
from service.stores.credentials import ApiKeyRecord, ApiKeyStore
from service.stores.database import utc_now

PREFIX = "twp_"
_FORM = re.compile(r"twp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# Compared against where no key has the id, so that both refusals take the same steps.
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key just made: ``text`` is shown once and exists nowhere else."""

    id: str
    text: str = field(repr=False)


class ApiKeys:
    """Issue, check and revoke."""

    def __init__(self, store: ApiKeyStore, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._clock = clock

    def issue(
        self,
        role: Role,
        *,
        label: str,
        scopes: Iterable[Scope] | None = None,
        twin: str | None = None,
        expires: datetime | None = None,
    ) -> NewApiKey:
        """A new key; ``scopes`` narrows the role's. The label is a code, never a person's name."""
        check_binding(role, twin)
        chosen = ROLE_SCOPES[role] if scopes is None else frozenset(scopes)
        if not chosen or not chosen <= ROLE_SCOPES[role]:
            raise ValueError("scopes must be some of the role's")
        if not _LABEL.fullmatch(label):
            raise ValueError("label must be 1-64 of a-z, 0-9 and '-'")
        if expires is not None and expires <= self._clock():
            raise ValueError("expires must be in the future")
        key_id, secret = secrets.token_hex(8), new_secret()
        self._store.add(
            key_id,
            plain_hash(secret),
            label=label,
            role=role.value,
            scopes=frozenset(scope.value for scope in chosen),
            twin=twin,
            expires=expires,
        )
        return NewApiKey(key_id, f"{PREFIX}{key_id}_{secret}")

    def check(self, text: str) -> Principal:
        """The principal of a key; every reason to refuse looks the same from outside."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise AuthError(AuthErrorCode.INVALID)
        record = self._store.get(form[1])
        right = same(record.secret_hash if record else _NOBODY, plain_hash(form[2]))
        if record is None or not right or record.revoked is not None:
            raise AuthError(AuthErrorCode.INVALID)
        now = self._clock()
        if record.expires is not None and record.expires <= now:
            raise AuthError(AuthErrorCode.EXPIRED)
        if record.last_used != now.date():
            self._store.used(record.id, now.date())
        return _principal(record)

    def revoke(self, key_id: str) -> bool:
        return self._store.revoke(key_id)

    def list(self) -> list[ApiKeyRecord]:
        return self._store.all()


def _principal(record: ApiKeyRecord) -> Principal:
    role = Role(record.role)
    # A scope that a later version took from the role is gone for old keys too.
    held = frozenset(s for s in ROLE_SCOPES[role] if s.value in record.scopes)
    return Principal(role, held, f"key.{record.id}", Kind.API_KEY, record.twin)
