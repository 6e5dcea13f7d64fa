"""A CDS Hooks 2.0 client, written from the specification (https://cds-hooks.hl7.org/2.0/) and not
from our code: it discovers, fills prefetch templates from an EHR's own data, signs, and calls."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import requests
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from service.sandbox.testing import RunningSandbox

Json = dict[str, Any]
PUBLIC = "https://twinport.example.org"
ISSUER = "https://ehr.example.org/cds"
PATIENT = "demo-008"


@dataclass
class Ehr:
    """An EHR: its FHIR data, its key, and the CDS service it knows."""

    http: FlaskClient
    sandbox: RunningSandbox
    key: ECKey | RSAKey
    algorithm: str = "ES384"
    hook_instance: str = field(default_factory=lambda: str(uuid.uuid4()))

    # -- the token (section "Trusting CDS Clients") ------------------------------------------------

    def claims(self, path: str, **changed: Any) -> Json:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": f"{PUBLIC}{path}",
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return {k: v for k, v in {**claims, **changed}.items() if v is not None}

    def token(self, path: str, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.key.kid, **(header or {})}
        head = {k: v for k, v in head.items() if v is not None}
        return jwt.encode(head, self.claims(path, **changed), self.key, algorithms=[head["alg"]])

    # -- the three calls -----------------------------------------------------------------------

    def discover(self) -> list[Json]:
        answer = self.http.get("/cds-services")
        assert answer.status_code == 200
        found: list[Json] = answer.get_json()["services"]
        return found

    def discovered(self, hook: str) -> Json:
        """The one service of a hook."""
        (found,) = [one for one in self.discover() if one["hook"] == hook]
        return found

    def post(self, path: str, body: Any, token: str | None = None) -> Any:
        signed = {"Authorization": f"Bearer {token or self.token(path)}"}
        return self.http.post(path, json=body, headers=signed)

    def call(self, service: Json, **changed: Any) -> Any:
        return self.post(f"/cds-services/{service['id']}", self.request(service, **changed))

    def feedback(self, service: Json, *items: Json) -> Any:
        return self.post(f"/cds-services/{service['id']}/feedback", {"feedback": list(items)})

    # -- the request (sections "HTTP Request" and "Prefetch Template") ---------------------------

    def request(self, service: Json, **changed: Any) -> Json:
        context = {"userId": "Practitioner/dr-17", "patientId": PATIENT, "encounterId": "e-1"}
        body = {
            "hook": service["hook"],
            "hookInstance": self.hook_instance,
            "context": context,
            "prefetch": self.prefetch(service, context),
        }
        return {k: v for k, v in {**body, **changed}.items() if v is not ...}

    def prefetch(self, service: Json, context: Mapping[str, str]) -> Json:
        return {
            name: self._fetch(self._filled(template, context))
            for name, template in service["prefetch"].items()
        }

    def _filled(self, template: str, context: Mapping[str, str]) -> str:
        for name, value in context.items():
            template = template.replace("{{context." + name + "}}", value)
        assert "{{" not in template
        return template

    def _fetch(self, query: str) -> Any:
        path, _, search = query.partition("?")
        params = [*parse_qsl(search), ("_count", "1000")] if search else []
        url = f"{self.sandbox.base_url}/{path}"
        answer = requests.get(url, params=params, timeout=120)
        assert answer.status_code in (200, 404), answer.text  # 404: a type it does not have
        return json.loads(answer.content)


def nothing_empty(value: Any, name: str = "") -> bool:
    """2.0: no attribute may be null, an empty string, array or object; `cards` may be empty."""
    if isinstance(value, dict):
        return bool(value) and all(nothing_empty(v, k) for k, v in value.items())
    if isinstance(value, list):
        return (bool(value) or name in ("cards", "services")) and all(map(nothing_empty, value))
    return value is not None and value != ""
