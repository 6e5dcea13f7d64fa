"""The EHR's side of a launch: where its authorisation server is, and what that answers.

Only a configured EHR is ever asked anything. Where its discovery document leads to another host,
that must be a public one over TLS, as nobody here configured it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urljoin

import orjson

from service.config.sections import ServerAuth, ServerLaunch
from service.fhir.client_keys import Key, load_key
from service.fhir.errors import FhirError
from service.fhir.origin import origin_of, require_public
from service.fhir.retry import Clock
from service.fhir.servers import ServerConfig
from service.fhir.signin import ASSERTION_TYPE, assertion, basic
from service.fhir.wire import RawAnswer, Wire
from service.smart.errors import LaunchError

Json = dict[str, Any]

BUDGET_SECONDS = 20.0
_JSON = {"Accept": "application/json"}
_FORM = {**_JSON, "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What the discovery document says, checked. Kept with the launch: it is not asked twice."""

    authorize: str
    token: str
    issuer: str
    keys: str


class Ehr:
    """One configured EHR that may launch us."""

    def __init__(self, server: ServerConfig, app: ServerLaunch) -> None:
        self.server, self.app = server, app
        self._key: Key | None = load_key(app.key_file) if app.key_file else None

    # -- discovery -------------------------------------------------------------------------------

    def discover(self) -> Endpoints:
        found = self._json("GET", f"{self.server.base_url}/.well-known/smart-configuration")
        names = ("authorization_endpoint", "token_endpoint", "issuer", "jwks_uri")
        found["jwks_uri"] = found.get("jwks_uri") or self._keys_of(found.get("issuer"))
        return Endpoints(*(self._trusted(found.get(name)) for name in names))

    def _keys_of(self, issuer: Any) -> Any:
        """Where the discovery document names no keys, the issuer's own does."""
        base = self._trusted(issuer).rstrip("/")
        return self._json("GET", f"{base}/.well-known/openid-configuration").get("jwks_uri")

    def _trusted(self, url: Any) -> str:
        """An address that a browser or a secret may be sent to."""
        if not isinstance(url, str) or not url:
            raise LaunchError("launch-unfit")
        found = urljoin(f"{self.server.base_url}/", url)
        try:
            if origin_of(found) not in self.server.origins:
                require_public(found, "launch")
        except FhirError:
            raise LaunchError("launch-unfit") from None
        return found

    # -- what only this EHR may answer -------------------------------------------------------------

    def exchange(self, endpoints: Endpoints, code: str, redirect_uri: str, verifier: str) -> Json:
        """The token answer, which holds the patient. Sent to the endpoint of this launch alone."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = dict(_FORM)
        client = ServerAuth(client_id=self.app.client_id)
        if self._key is not None:
            form["client_assertion_type"] = ASSERTION_TYPE
            form["client_assertion"] = assertion(client, self._key, endpoints.token)
        elif self.app.client_secret:
            # RFC 6749, 2.3.1: both halves are form-encoded first.
            pair = map(quote_plus, (self.app.client_id, self.app.client_secret))
            headers["Authorization"] = basic(*pair)
        else:
            form["client_id"] = self.app.client_id
        return self._json("POST", endpoints.token, headers, urlencode(form).encode())

    def keys(self, endpoints: Endpoints) -> Mapping[str, Json]:
        found = self._json("GET", endpoints.keys).get("keys")
        listed = found if isinstance(found, list) else []
        return {
            key["kid"]: key
            for key in listed
            if isinstance(key, dict) and isinstance(key.get("kid"), str)
        }

    def may_read(self, patient: str, token: str) -> bool:
        """Whether the EHR itself shows this person this patient: asked with their own token."""
        url = f"{self.server.base_url}/Patient/{patient}"
        headers = {"Accept": "application/fhir+json", "Authorization": f"Bearer {token}"}
        found = _parsed(self._send("GET", url, headers, None))
        return found.get("resourceType") == "Patient" and found.get("id") == patient

    # -- one exchange -----------------------------------------------------------------------------

    def _json(
        self, method: str, url: str, headers: Mapping[str, str] = _JSON, body: bytes | None = None
    ) -> Json:
        answer = self._send(method, url, headers, body)
        if answer.status in (400, 401, 403):
            raise LaunchError("launch-refused")
        if answer.status != 200:
            raise LaunchError("launch-unreachable")
        return _parsed(answer)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> RawAnswer:
        wire, clock = Wire(self.server), Clock(BUDGET_SECONDS)
        try:
            return wire.send(method, url, headers=headers, body=body, clock=clock, what="launch")
        except FhirError:
            raise LaunchError("launch-unreachable") from None
        finally:
            wire.close()


def _parsed(answer: RawAnswer) -> Json:
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise LaunchError("launch-unreachable")
    return found
