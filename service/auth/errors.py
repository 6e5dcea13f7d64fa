"""Why somebody was not let in, as a code. What they showed is never repeated."""

from enum import StrEnum


class AuthErrorCode(StrEnum):
    MISSING = "credentials-missing"
    UNREADABLE = "credentials-unreadable"
    INVALID = "credentials-invalid"
    EXPIRED = "credentials-expired"
    NO_ROLE = "role-missing"
    FORBIDDEN = "scope-missing"
    CSRF = "csrf-mismatch"
    TOO_MANY = "too-many-attempts"
    KEYS_UNAVAILABLE = "issuer-keys-unavailable"


_STATUS = {
    AuthErrorCode.NO_ROLE: 403,
    AuthErrorCode.FORBIDDEN: 403,
    AuthErrorCode.CSRF: 403,
    AuthErrorCode.TOO_MANY: 429,
    AuthErrorCode.KEYS_UNAVAILABLE: 503,
}


class AuthError(Exception):
    """A refusal. ``status`` is the HTTP status that fits; ``retry_after`` is in seconds."""

    def __init__(self, code: AuthErrorCode, *, retry_after: int | None = None) -> None:
        super().__init__(code.value)
        self.code = code
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 401)
