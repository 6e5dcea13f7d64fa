"""Browser sign-in: one-time codes, server-side sessions, CSRF tokens, and a brake on guessing."""

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.auth.errors import AuthError, AuthErrorCode
from service.auth.principals import (
    BOUND_CLINICIAN,
    ROLE_SCOPES,
    Kind,
    Principal,
    Role,
    check_binding,
    check_person,
    named_subject,
)
from service.auth.secret_hashes import (
    keyed_hash,
    name_for,
    new_code,
    new_secret,
    normal_code,
    same,
)
from service.stores.credentials import AttemptStore, Identity, SessionStore, SignInCodeStore
from service.stores.database import utc_now


class SignInCodes:
    """Codes that open one session each, handed over by somebody who may."""

    def __init__(self, store: SignInCodeStore, key: bytes) -> None:
        self._store = store
        self._key = key

    def issue(
        self,
        role: Role,
        *,
        twin: str | None = None,
        person: str | None = None,
        life: timedelta = timedelta(minutes=15),
    ) -> str:
        """A new code, shown once. `person` is a code for whom it is, never a name."""
        check_binding(role, twin)
        check_person(role, person)
        code = new_code()
        subject = named_subject(role, person) if person else self._subject(role, twin, code)
        self._store.add(self._hash(code), Identity(subject, role.value, twin), life=life)
        return code

    def use(self, text: str) -> Identity:
        """Spend a code; the second of two callers is refused."""
        letters = normal_code(text)
        identity = self._store.use(self._hash(letters)) if letters else None
        if identity is None:
            raise AuthError(AuthErrorCode.INVALID)
        return identity

    def _hash(self, code: str) -> bytes:
        return keyed_hash(self._key, "sign-in-code", normal_code(code) or "")

    def _subject(self, role: Role, twin: str | None, code: str) -> str:
        """A patient keeps one name over all sessions, and so does whoever was named; others get
        one per code, and nobody can tell whether two of those are one."""
        return f"{role.value}.{name_for(self._key, 'subject', twin or code)}"


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session just opened; ``token`` goes into the cookie and nowhere else."""

    principal: Principal
    token: str = field(repr=False)
    csrf: str = field(repr=False)


class BrowserSessions:
    """Sessions kept on the server: absolute and idle expiry, revocation, CSRF."""

    def __init__(
        self, store: SessionStore, key: bytes, *, life: timedelta, idle: timedelta
    ) -> None:
        self._store = store
        self._key = key
        self._life = life
        self._idle = idle

    def open(self, identity: Identity) -> NewSession:
        token = new_secret()
        self._store.open(self._hash(token), identity, life=self._life)
        return NewSession(_principal(identity), token, self.csrf(token))

    def check(self, token: str) -> Principal:
        identity = self._store.touch(self._hash(token), idle=self._idle)
        if identity is None:
            raise AuthError(AuthErrorCode.EXPIRED)
        return _principal(identity)

    def csrf(self, token: str) -> str:
        """The form token of this session: worthless in any other."""
        return keyed_hash(self._key, "csrf", token).hex()

    def check_csrf(self, token: str, given: str) -> None:
        if not same(self.csrf(token).encode(), given.encode("utf-8", "replace")):
            raise AuthError(AuthErrorCode.CSRF)

    def close(self, token: str) -> bool:
        return self._store.revoke(self._hash(token))

    def close_all(self, subject: str) -> int:
        return self._store.revoke_all(subject)

    def _hash(self, token: str) -> bytes:
        return keyed_hash(self._key, "session", token)


class SignInThrottle:
    """So many attempts per address and window, counted before the code is looked at.

    Counting first, in one atomic statement, is what lets no number of parallel callers get more
    attempts than allowed. Addresses are hashed under the session key; none is stored.
    """

    def __init__(
        self,
        store: AttemptStore,
        key: bytes,
        *,
        limit: int,
        window: timedelta,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._key = key
        self._limit = limit
        self._window = window
        self._clock = clock

    def admit(self, address: str, *, kind: str = "sign-in") -> None:
        """Count an attempt; raise where the window is used up."""
        bucket = keyed_hash(self._key, f"attempt.{kind}", _network(address))
        if self._store.count(bucket, window=self._window) > self._limit:
            raise AuthError(AuthErrorCode.TOO_MANY, retry_after=self._rest())

    def _rest(self) -> int:
        seconds = self._window.total_seconds()
        return max(1, math.ceil(seconds - self._clock().timestamp() % seconds))


def _network(address: str) -> str:
    """An IPv6 caller owns a whole /64; counting single addresses would not slow anybody."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"  # all unreadable addresses share one bucket
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def _principal(identity: Identity) -> Principal:
    role = Role(identity.role)
    launched = role is Role.EHR and identity.twin is not None
    scopes = BOUND_CLINICIAN if launched else ROLE_SCOPES[role]
    return Principal(role, scopes, identity.subject, Kind.SESSION, identity.twin)
