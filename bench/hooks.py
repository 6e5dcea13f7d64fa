"""A CDS Hooks client for the load: it signs, sends what was prefetched, and times the cards."""

import statistics
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import requests
from joserfc import jwt
from joserfc.jwk import ECKey

from bench.processes import Running

ISSUER = "https://ehr.bench.example.org"
SERVICE = "twinport-patient-view"
AIM_MILLISECONDS = 500

Json = dict[str, Any]


class Ehr:
    """An EHR's client with a key of its own."""

    def __init__(self, folder: Path) -> None:
        self._key = ECKey.generate_key("P-384", {"kid": "bench"})
        self._file = folder / "jwks.json"
        self._file.write_bytes(orjson.dumps({"keys": [self._key.as_dict(private=False)]}))

    def settings(self, server: str) -> dict[str, str]:
        start = f"TWINPORT_SERVERS__{server.upper()}__CDS__"
        return {f"{start}ISSUER": ISSUER, f"{start}JWKS_FILE": str(self._file)}

    def timed(self, running: Running, base: str, patients: Iterable[str]) -> Json:
        """The median of first calls, each about another patient, all data sent along."""
        found = requests.get(f"{running.url}/cds-services", timeout=60).json()["services"]
        templates = next(one["prefetch"] for one in found if one["id"] == SERVICE)
        seconds = [self._call(running, base, templates, patient) for patient in patients]
        median = statistics.median(seconds) * 1000
        return {
            "calls": len(seconds),
            "medianMs": round(median, 1),
            "aim": f"<= {AIM_MILLISECONDS} ms",
            "met": median <= AIM_MILLISECONDS,
        }

    def _call(self, running: Running, base: str, templates: Json, patient: str) -> float:
        url = f"{running.url}/cds-services/{SERVICE}"
        body = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "context": {"userId": "Practitioner/1", "patientId": patient},
            "prefetch": {name: _got(base, text, patient) for name, text in templates.items()},
        }
        headers = {"Authorization": f"Bearer {self._token(url)}"}
        begun = time.perf_counter()
        answer = requests.post(url, json=body, headers=headers, timeout=600)
        seconds = time.perf_counter() - begun
        answer.raise_for_status()
        return seconds

    def _token(self, url: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": url, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        header = {"alg": "ES384", "typ": "JWT", "kid": "bench"}
        return jwt.encode(header, claims, self._key, algorithms=["ES384"])


def _got(base: str, template: str, patient: str) -> Any:
    query = template.replace("{{context.patientId}}", patient)
    joint = "&_count=1000" if "?" in query else ""
    answer = requests.get(f"{base}/{query}{joint}", timeout=60)
    return orjson.loads(answer.content)
