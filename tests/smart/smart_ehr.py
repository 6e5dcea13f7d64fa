"""An EHR's authorisation server, written from SMART App Launch 2.2, RFC 6749, 7636 and OpenID
Connect: on a real port, beside a sandbox's FHIR routes. It signs in whoever comes. What a test
wants it to do wrong is said in `bad`."""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from service.sandbox.server import create_sandbox, sandbox_of
from service.sandbox.testing import population

CLIENT, SECRET = "twinport-app", "very-secret: 7% of it"
PATIENT = "demo-015"
PRACTITIONER = "dr-7"


@dataclass
class Login:
    """The state of the authorisation server, and what it saw."""

    rsa: RSAKey
    app_key: ECKey
    base: str = ""
    how: str = "secret"  # how the client proves itself: secret, key, public
    bad: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    authorised: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Paths asked for, of any of its routes."""

    @property
    def issuer(self) -> str:
        return f"{self.base}/oauth"

    # -- discovery -------------------------------------------------------------------------------

    def configuration(self) -> Response:
        stated = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.base}/jwks",
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "code_challenge_methods_supported": ["S256"],
            "capabilities": ["launch-ehr", "launch-standalone", "sso-openid-connect"],
        }
        return jsonify({**stated, **self.bad.get("configuration", {})})

    def jwks(self) -> Response:
        return jsonify({"keys": [self.rsa.as_dict(private=False)]})

    # -- the browser is here -----------------------------------------------------------------------

    def authorize(self) -> Any:
        query = request.args.to_dict()
        self.authorised.append(query)
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["aud"] == self.base
        assert query["code_challenge_method"] == "S256"
        assert ("launch" in query) == ("launch" in query["scope"].split())
        assert ("launch/patient" in query["scope"].split()) == ("launch" not in query)
        if "error" in self.bad:
            back = {"error": self.bad["error"], "error_description": "MARK <b>"}
        else:
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            back = {"code": code}
        back |= {"state": query["state"], **self.bad.get("back", {})}
        return redirect(f"{query['redirect_uri']}?{urlencode(back)}")

    # -- the program asks --------------------------------------------------------------------------

    def token(self) -> Any:
        form = request.form
        query = self.codes.pop(form["code"], None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            query is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != query["redirect_uri"]
            or proof.rstrip(b"=").decode() != query["code_challenge"]
        ):
            return jsonify({"error": "invalid_grant"}), 400
        if not self._is_client():
            return jsonify({"error": "invalid_client"}), 401
        token = secrets.token_urlsafe(24)
        self.tokens.append(token)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": query["scope"],
            "patient": PATIENT,
            "id_token": self.id_token(query["nonce"]),
        }
        answer |= self.bad.get("answer", {})
        return jsonify({name: value for name, value in answer.items() if value is not None})

    def _is_client(self) -> bool:
        if self.how == "public":
            return request.form.get("client_id") == CLIENT
        if self.how == "key":
            claims = jwt.decode(
                request.form["client_assertion"], self.app_key, algorithms=["ES384"]
            ).claims
            return claims["sub"] == CLIENT and claims["aud"] == f"{self.base}/token"
        given = request.authorization  # RFC 6749, 2.3.1: both halves are form-encoded first
        encoded = urlencode({"": SECRET})[1:]
        return given is not None and (given.username, given.password) == (CLIENT, encoded)

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "user-1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "fhirUser": f"{self.base}/Practitioner/{PRACTITIONER}",
        }
        claims |= self.bad.get("claims", {})
        header = {"alg": "RS256", "kid": self.rsa.kid, **self.bad.get("header", {})}
        key = self.bad.get("key", self.rsa)
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, kept, key, algorithms=["RS256", "HS256"])

    def watch(self) -> Any:
        """The FHIR side takes its own tokens and none other."""
        self.asked.append(request.path)
        given = request.headers.get("Authorization", "")
        if given.startswith("Bearer ") and given[7:] not in self.tokens:
            return jsonify({"resourceType": "OperationOutcome", "issue": []}), 401
        if given and PATIENT in request.path and self.bad.get("hides"):
            return jsonify({"resourceType": "OperationOutcome", "issue": []}), 404
        return None


def build(login: Login) -> Flask:
    app = create_sandbox([one for one in population() if one.id == PATIENT])
    prefix = sandbox_of(app).prefix
    app.add_url_rule(f"{prefix}/.well-known/smart-configuration", "smart", login.configuration)
    app.add_url_rule(f"{prefix}/jwks", "jwks", login.jwks)
    app.add_url_rule(f"{prefix}/authorize", "authorize", login.authorize)
    app.add_url_rule(f"{prefix}/token", "token", login.token, methods=["POST"])
    app.before_request(login.watch)
    return app
