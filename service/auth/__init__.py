"""Authentication: ``Access.build(...)`` once, then ``.authenticate(...)`` per request."""

from service.auth.access import Access
from service.auth.api_keys import ApiKeys, NewApiKey
from service.auth.authenticator import Authenticator
from service.auth.errors import AuthError, AuthErrorCode
from service.auth.jwks import JwksCache, fetch_jwks, read_jwks
from service.auth.principals import ROLE_SCOPES, Kind, Principal, Role, Scope
from service.auth.sessions import BrowserSessions, NewSession, SignInCodes, SignInThrottle
from service.auth.tokens import BearerTokens

__all__ = [
    "ROLE_SCOPES",
    "Access",
    "ApiKeys",
    "AuthError",
    "AuthErrorCode",
    "Authenticator",
    "BearerTokens",
    "BrowserSessions",
    "JwksCache",
    "Kind",
    "NewApiKey",
    "NewSession",
    "Principal",
    "Role",
    "Scope",
    "SignInCodes",
    "SignInThrottle",
    "fetch_jwks",
    "read_jwks",
]
