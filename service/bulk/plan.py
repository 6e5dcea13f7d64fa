"""What is kept of an export between two processes. Sealed: it names places on a server, and holds
the key of the spool."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import orjson

from service.bulk.order import Order
from service.fhir.capability import Capability
from service.fhir.http import FhirClient
from service.fhir.kinds import ALL, CARRIED
from service.fhir.scopes import missing, parse
from service.patient.consent import CARE


@dataclass(frozen=True, slots=True)
class Plan:
    order: Order
    server: str = field(repr=False)
    """The name, or the URL it was given by at the command line"""
    policy: str
    models: tuple[str, ...]
    write_back: bool
    key: bytes = field(repr=False)
    fhir_version: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Types that were not asked for, and why"""
    status_url: str = field(default="", repr=False)
    """Where to ask after it. Empty: it is not known whether the server began"""
    token: bool = True
    unreadable: int = 0
    listed: bool = False
    """The manifest is complete, and in the spool"""
    released: bool = False
    """The server was told that it may forget the export"""
    purpose: str = CARE
    """What for; of each patient it is asked whether they allowed it"""

    @classmethod
    def new(cls, **values: Any) -> Self:
        return cls(key=secrets.token_bytes(32), **values)

    def to_bytes(self) -> bytes:
        return orjson.dumps({**asdict(self), "key": base64.b64encode(self.key).decode()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        stored = orjson.loads(data)
        order = Order(**{**stored["order"], "types": tuple(stored["order"]["types"])})
        key = base64.b64decode(stored["key"])
        models = tuple(stored["models"])
        return cls(**{**stored, "order": order, "key": key, "models": models})

    def changed(self, **values: Any) -> Self:
        return replace(self, **values)


def types_to_ask(
    client: FhirClient, able: Capability, configured: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The types worth asking for, and why others are not."""
    wanted = configured or (*CARRIED, *ALL)
    left_out = {kind: "not-asked" for kind in ALL if kind not in wanted}
    left_out |= {kind: "not-supported" for kind in wanted if not _exported(able, kind)}
    granted = client.sign_in() or ()
    if any(parse(scope) for scope in granted):
        scopes = {kind: f"system/{kind}.r" for kind in wanted}
        left_out |= {k: "forbidden" for k, scope in scopes.items() if missing([scope], granted)}
    asked = ("Patient", *(kind for kind in wanted if kind not in left_out))
    return tuple(dict.fromkeys(asked)), left_out


def _exported(able: Capability, kind: str) -> bool:
    return not able.stated or (kind in able.types and kind not in able.not_exported)
