"""A launch from its first request to the session: `begin`, and `finish` when the EHR sent the
browser back. Nothing of it is kept but what the way there and back needs, sealed, for minutes."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from service.auth.secret_hashes import keyed_hash
from service.config import Config
from service.fhir.servers import from_config
from service.pipeline.runtime import BlobSealer
from service.smart.ehr import Ehr, Endpoints
from service.smart.errors import LaunchError
from service.smart.identity import Clinician, Expected, clinician_of
from service.stores import Database
from service.stores.launches import LaunchStore

LIFE = timedelta(minutes=10)
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_LONGEST_LAUNCH = 2048
_LONGEST_CODE = 4096
_CONTEXT = b"smart-launch"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and the secret that its cookie holds until it is back."""

    address: str
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrived:
    """Who came, for which patient of which server. `person` is a code for whom it is."""

    server: str
    patient: str = field(repr=False)
    person: str = ""
    encounter: str = field(default="", repr=False)


class Desk:
    """One per process. Holds no patient."""

    def __init__(self, config: Config, database: Database, sealer: BlobSealer, key: bytes) -> None:
        self._ehrs = {
            name: Ehr(from_config(name, server, config.limits), server.launch)
            for name, server in config.servers.items()
            if server.launch.client_id
        }
        self._store = LaunchStore(database)
        self._sealer = sealer
        self._key = key

    @property
    def names(self) -> list[str]:
        """The EHRs one can start from here."""
        return sorted(name for name, ehr in self._ehrs.items() if ehr.app.stand_alone)

    def named(self, iss: str) -> str:
        """The EHR of this FHIR base; looked up before anything is asked of anybody."""
        base = iss.removesuffix("/")
        found = next((n for n, ehr in self._ehrs.items() if base in ehr.server.bases), None)
        if found is None:
            raise LaunchError("launch-unknown-ehr")
        return found

    # -- there ------------------------------------------------------------------------------------

    def begin(self, name: str, launch: str | None, redirect_uri: str) -> Begun:
        """`launch` is what an EHR sent along; None where the start is on our own page."""
        ehr = self._ehrs.get(name)
        if ehr is None or (launch is None and not ehr.app.stand_alone):
            raise LaunchError("launch-unknown-ehr")
        if launch is not None and not 0 < len(launch) <= _LONGEST_LAUNCH:
            raise LaunchError("launch-broken")
        endpoints = ehr.discover()
        state, browser, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        verifier = secrets.token_urlsafe(48)
        kept = {"server": name, "browser": self._hash("browser", browser).hex(), "nonce": nonce,
                "verifier": verifier, "endpoints": asdict(endpoints)}  # fmt: skip
        sealed = self._sealer.seal(orjson.dumps(kept), _CONTEXT)
        self._store.add(self._hash("state", state), sealed, LIFE)
        context = "launch/patient" if launch is None else "launch"
        query = {
            "response_type": "code",
            "client_id": ehr.app.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join((context, *ehr.app.scopes)),
            "state": state,
            "aud": ehr.server.base_url,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
            **({} if launch is None else {"launch": launch}),
        }
        joint = "&" if urlsplit(endpoints.authorize).query else "?"
        return Begun(f"{endpoints.authorize}{joint}{urlencode(query)}", browser)

    # -- and back ---------------------------------------------------------------------------------

    def finish(self, given: Mapping[str, str], browser: str, redirect_uri: str) -> Arrived:
        """What the EHR sent along with the browser, and the browser's own cookie."""
        kept = self._taken(given.get("state", ""), browser)
        endpoints = Endpoints(**kept["endpoints"])
        # RFC 9207: an answer of another server than the one that was asked (mix-up).
        if given.get("iss", endpoints.issuer) != endpoints.issuer:
            raise LaunchError("launch-broken")
        if "error" in given:
            declined = given["error"] in ("access_denied", "consent_required")
            raise LaunchError("launch-declined" if declined else "launch-refused")
        code = given.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise LaunchError("launch-broken")
        ehr = self._ehrs.get(kept["server"])
        if ehr is None:
            raise LaunchError("launch-unknown-ehr")
        answer = ehr.exchange(endpoints, code, redirect_uri, kept["verifier"])
        expected = Expected(endpoints.issuer, ehr.app.client_id, kept["nonce"], ehr.server.base_url)
        person = clinician_of(answer.get("id_token"), ehr.keys(endpoints), expected)
        patient = _patient(ehr, answer)
        return Arrived(kept["server"], patient, self._code(person), _encounter(answer))

    def _taken(self, state: str, browser: str) -> dict[str, Any]:
        """The launch of this state, once, and only for the browser that began it."""
        sealed = self._store.take(self._hash("state", state)) if state else None
        if sealed is None:
            raise LaunchError("launch-over")
        kept: dict[str, Any] = orjson.loads(self._sealer.open(sealed, _CONTEXT))
        if not hmac.compare_digest(kept["browser"], self._hash("browser", browser).hex()):
            raise LaunchError("launch-over")
        return kept

    def _code(self, person: Clinician) -> str:
        """The same person is the same in every session; nobody can tell who it is."""
        whole = orjson.dumps([person.issuer, person.subject]).decode()
        return f"smart-{keyed_hash(self._key, 'smart-person', whole).hex()[:24]}"

    def _hash(self, kind: str, text: str) -> bytes:
        return keyed_hash(self._key, f"launch.{kind}", text)


def _encounter(answer: Mapping[str, Any]) -> str:
    """In context, where the EHR says one. Whether it is the patient's is seen in the record."""
    told = answer.get("encounter")
    return told if isinstance(told, str) and _ID.fullmatch(told) else ""


def _patient(ehr: Ehr, answer: Mapping[str, Any]) -> str:
    """The patient in context; also asked of the EHR with the token, which then is dropped."""
    token, kind = answer.get("access_token"), str(answer.get("token_type")).lower()
    if not isinstance(token, str) or kind != "bearer" or not token.isascii() or "\n" in token:
        raise LaunchError("launch-refused")
    patient = answer.get("patient")
    if not isinstance(patient, str) or not _ID.fullmatch(patient):
        raise LaunchError("launch-no-patient")
    if not ehr.may_read(patient, token):
        raise LaunchError("launch-no-patient")
    return patient


def challenge(verifier: str) -> str:
    """RFC 7636, S256."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
