"""Where the images of a study lie: the configured archive, else the Endpoints the study names.

An address out of FHIR data is followed only to the server's own origins: nobody else configured it,
and a credential goes where the operator sent it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from service.config.sections import ServerAuth
from service.dicomweb.dataset import rows
from service.fhir.errors import Cancelled, FhirError, ForeignOrigin, SetupError, UnsafeAddress
from service.fhir.forms import read_form
from service.fhir.http import FhirClient
from service.fhir.origin import origin_of
from service.fhir.servers import ServerConfig

CONNECTION = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
DICOMWEB = frozenset({"dicom-wado-rs", "dicom-qido-rs"})
NO_ADDRESS = "no-address"
"""No Endpoint that is in use and speaks DICOMweb"""

TRIES = 3
"""How an image was acquired is not worth as much patience as a record."""

_PREFIX = "Endpoint/"
Study = Mapping[str, Any]


class Addresses:
    """The archive of each study. Endpoints are read once."""

    def __init__(self, client: FhirClient) -> None:
        self._client = client
        self._configured = client.server.dicomweb.base_url.rstrip("/")
        self._endpoints: dict[str, Mapping[str, Any] | FhirError] = {}

    @property
    def asked(self) -> set[str]:
        return {read_form("Endpoint")} if self._endpoints else set()

    def root(self, study: Study) -> str | FhirError | None:
        """The DICOMweb root; why there is none that may be asked; None where none is named."""
        if self._configured:
            return self._configured
        refusal: FhirError | None = None
        for found in self._found(study):
            usable = found if isinstance(found, FhirError) else self._usable(found)
            if isinstance(usable, str):
                return usable
            refusal = refusal or usable
        return refusal

    def _found(self, study: Study) -> Iterator[Mapping[str, Any] | FhirError]:
        """The study's own Endpoints, then those of its series."""
        contained = {f"#{c.get('id')}": c for c in rows(study.get("contained"))}
        holders = [study, *rows(study.get("series"))]
        texts = (one.get("reference") for h in holders for one in rows(h.get("endpoint")))
        for text in dict.fromkeys(t for t in texts if isinstance(t, str)):
            if text in contained:
                yield contained[text]
            elif text.startswith(_PREFIX):
                yield self._read(text.removeprefix(_PREFIX))

    def _read(self, identity: str) -> Mapping[str, Any] | FhirError:
        if identity not in self._endpoints:
            try:
                self._endpoints[identity] = self._client.read("Endpoint", identity).resource or {}
            except Cancelled:
                raise
            except FhirError as error:
                self._endpoints[identity] = error
        return self._endpoints[identity]

    def _usable(self, endpoint: Mapping[str, Any]) -> str | FhirError | None:
        """Its root, or why not; None where it is not DICOMweb or not in use."""
        kind = endpoint.get("connectionType")
        code = kind.get("code") if isinstance(kind, dict) else None
        if endpoint.get("resourceType") != "Endpoint" or endpoint.get("status") != "active":
            return None
        if code not in DICOMWEB or not isinstance(kind, dict) or kind.get("system") != CONNECTION:
            return None
        return self._root_of(endpoint.get("address"))

    def _root_of(self, address: Any) -> str | FhirError:
        what = "Endpoint.address"
        try:
            origin = origin_of(str(address))
        except UnsafeAddress:
            return UnsafeAddress(what)
        if origin not in self._client.server.origins:
            return ForeignOrigin(what, next_step="If it is this server's archive, name it.")
        parts = urlsplit(str(address))
        if parts.query or parts.fragment:
            return UnsafeAddress(what)
        return str(address).partition("/studies")[0].rstrip("/")


def archive_of(server: ServerConfig, root: str) -> ServerConfig:
    """How an archive is talked to: its own sign-in; at the server's own origins, the server's."""
    wanted = server.dicomweb
    own = wanted.auth.kind != "none"
    at_home = origin_of(root) in server.origins
    auth = wanted.auth if own else server.auth if at_home else ServerAuth()
    limits = replace(
        server.limits,
        tries=min(server.limits.tries, TRIES),
        read_seconds=wanted.timeout_seconds,
        budget_seconds=wanted.total_seconds,
        longest_pause_seconds=min(server.limits.longest_pause_seconds, wanted.total_seconds / 4),
        body_bytes=wanted.response_bytes,
    )
    try:
        return ServerConfig(
            name=f"{server.name}.dicomweb",
            base_url=root,
            auth=auth,
            allow_plain_http=wanted.allow_plain_http or server.allow_plain_http,
            ca_file=wanted.ca_file or server.ca_file,
            limits=limits,
        )
    except SetupError:
        raise UnsafeAddress("Endpoint.address") from None
