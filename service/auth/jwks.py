"""The issuer's public keys: fetched, kept for a while, fetched again at most once a minute."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from service.auth.errors import AuthError, AuthErrorCode

Fetch = Callable[[], Mapping[str, Any]]
_REFETCH_SECONDS = 60.0
_TYPES = {"RSA", "EC", "OKP"}
_MAX_BYTES = 1_048_576


class JwksCache:
    """Keys by ``kid``. A failing issuer does not take away keys that are still fresh."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        keep_seconds: float = 3600,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._keep = keep_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._fetched: float | None = None
        self._tried: float | None = None

    def find(self, kid: str) -> Mapping[str, Any] | None:
        """The key of that name; an unknown one is looked for at the issuer, once a minute."""
        known = self._keys.get(kid)
        if known is not None and not self._stale():
            return known  # nobody waits here while somebody else asks the issuer
        with self._lock:
            if self._stale() or kid not in self._keys:
                self._refresh()
            if self._stale():
                raise AuthError(AuthErrorCode.KEYS_UNAVAILABLE)
            return self._keys.get(kid)

    def _stale(self) -> bool:
        return self._fetched is None or self._monotonic() - self._fetched >= self._keep

    def _refresh(self) -> None:
        now = self._monotonic()
        if self._tried is not None and now - self._tried < _REFETCH_SECONDS:
            return
        self._tried = now
        try:
            keys = self._fetch()["keys"]
            self._keys = {key["kid"]: key for key in keys if _usable(key)}
        except (OSError, ValueError, KeyError, TypeError):
            return  # requests' errors are OSErrors; ``find`` decides whether the old keys serve
        self._fetched = now


def fetch_jwks(url: str, *, timeout: float = 10) -> Fetch:
    """A fetch over HTTPS that follows no redirect and reads no more than a megabyte."""

    def fetch() -> Mapping[str, Any]:
        headers = {"Accept": "application/json"}
        with requests.get(
            url, headers=headers, timeout=timeout, allow_redirects=False, stream=True
        ) as answer:
            if answer.status_code != 200:
                raise ValueError("the issuer did not give its keys")
            return _parse(_bounded(answer))

    return fetch


def read_jwks(path: Path) -> Fetch:
    """A fetch from a file, read again like a URL would be, so that it can be exchanged."""
    return lambda: _parse(path.read_bytes())


def _bounded(answer: requests.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_content(65_536):
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ValueError("the issuer's key set is too large")
    return bytes(body)


def _parse(body: bytes) -> Mapping[str, Any]:
    parsed = json.loads(body)
    if not isinstance(parsed, dict):
        raise ValueError("the issuer's key set is no JSON object")  # noqa: TRY004
    return parsed


def _usable(key: Any) -> bool:
    """A public signature key with a name. Symmetric keys do not belong in a public set."""
    return (
        isinstance(key, Mapping)
        and isinstance(key.get("kid"), str)
        and key.get("kty") in _TYPES
        and key.get("use", "sig") == "sig"
        and "d" not in key
    )
