"""One entrance for every kind of credential."""

from service.auth.api_keys import PREFIX, ApiKeys
from service.auth.errors import AuthError, AuthErrorCode
from service.auth.principals import Principal
from service.auth.sessions import BrowserSessions
from service.auth.tokens import BearerTokens


class Authenticator:
    """Header first; a cookie is looked at only where no header was sent.

    A request that shows a bad header is refused even if its cookie is good: which of the two
    somebody meant is not ours to guess.
    """

    def __init__(
        self, keys: ApiKeys, sessions: BrowserSessions, tokens: BearerTokens | None = None
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._tokens = tokens

    def authenticate(self, authorization: str | None, cookie: str | None) -> Principal:
        """The principal, or ``AuthError``."""
        if authorization is not None:
            return self._bearer(authorization)
        if cookie:
            return self._sessions.check(cookie)
        raise AuthError(AuthErrorCode.MISSING)

    def _bearer(self, header: str) -> Principal:
        scheme, _, credential = header.strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential or not credential.isascii():
            raise AuthError(AuthErrorCode.UNREADABLE)
        if credential.startswith(PREFIX):
            return self._keys.check(credential)
        if self._tokens is None:
            raise AuthError(AuthErrorCode.INVALID)
        return self._tokens.check(credential)
