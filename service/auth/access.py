"""Everything about signing in, put together from configuration, keys and database."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from service.auth.api_keys import ApiKeys
from service.auth.authenticator import Authenticator
from service.auth.jwks import JwksCache, fetch_jwks, read_jwks
from service.auth.principals import Principal
from service.auth.sessions import BrowserSessions, NewSession, SignInCodes, SignInThrottle
from service.auth.tokens import BearerTokens
from service.config import Config, OAuth, Web
from service.stores import Database
from service.stores.credentials import (
    ApiKeyStore,
    AttemptStore,
    SessionStore,
    SignInCodeStore,
)
from service.stores.database import utc_now


@dataclass(frozen=True)
class Access:
    """The parts of signing in that the web and the command line use."""

    api_keys: ApiKeys
    codes: SignInCodes
    sessions: BrowserSessions
    throttle: SignInThrottle
    authenticator: Authenticator

    @classmethod
    def build(
        cls,
        config: Config,
        database: Database,
        session_key: bytes,
        clock: Callable[[], datetime] = utc_now,
    ) -> "Access":
        web = config.web
        api_keys = ApiKeys(ApiKeyStore(database, clock), clock)
        sessions = _sessions(web, database, session_key, clock)
        tokens = _tokens(config.oauth, session_key)
        return cls(
            api_keys=api_keys,
            codes=SignInCodes(SignInCodeStore(database, clock), session_key),
            sessions=sessions,
            throttle=_throttle(web, database, session_key, clock),
            authenticator=Authenticator(api_keys, sessions, tokens),
        )

    def authenticate(self, authorization: str | None, cookie: str | None) -> Principal:
        return self.authenticator.authenticate(authorization, cookie)

    def sign_in(self, code: str, address: str) -> NewSession:
        """Count the attempt, spend the code, open the session; or ``AuthError``."""
        self.throttle.admit(address)
        return self.sessions.open(self.codes.use(code))


def _sessions(
    web: Web, database: Database, key: bytes, clock: Callable[[], datetime]
) -> BrowserSessions:
    return BrowserSessions(
        SessionStore(database, clock),
        key,
        life=timedelta(hours=web.session_hours),
        idle=timedelta(minutes=web.idle_minutes),
    )


def _throttle(
    web: Web, database: Database, key: bytes, clock: Callable[[], datetime]
) -> SignInThrottle:
    return SignInThrottle(
        AttemptStore(database, clock),
        key,
        limit=web.sign_in_attempts,
        window=timedelta(minutes=web.sign_in_window_minutes),
        clock=clock,
    )


def _tokens(oauth: OAuth, key: bytes) -> BearerTokens | None:
    if not oauth.issuer:
        return None
    source = read_jwks(Path(oauth.jwks_file)) if oauth.jwks_file else fetch_jwks(oauth.jwks_url)
    return BearerTokens(
        JwksCache(source, keep_seconds=oauth.cache_seconds),
        issuer=oauth.issuer,
        audience=oauth.audience,
        patient_claim=oauth.patient_claim,
        subject_key=key,
        skew_seconds=oauth.skew_seconds,
    )
