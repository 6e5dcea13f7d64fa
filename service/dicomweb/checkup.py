"""What works with a server's imaging archive, for `twinport server check`. Of no patient a word."""

from collections.abc import Iterator

from service.dicomweb.address import archive_of
from service.dicomweb.archive import Allowance, Archive
from service.fhir.capability import Capability
from service.fhir.errors import FhirError, Forbidden, SignInRefused
from service.fhir.findings import Finding, Level
from service.fhir.http import FhirClient

ABOUT = "dicomweb"


def check_archive(client: FhirClient, able: Capability) -> Iterator[Finding]:
    wanted = client.server.dicomweb
    if not wanted.enabled:
        if able.can("ImagingStudy", "search-type"):
            yield Finding(Level.WORKS, ABOUT, "not asked how images were acquired (`dicomweb`)")
        return
    if wanted.base_url:
        yield from _probe(client, wanted.base_url.rstrip("/"))
    elif able.can("Endpoint", "read"):
        text = "asked at the Endpoints that studies name, if they lie at this server's own origin"
        yield Finding(Level.WORKS, ABOUT, text)
    else:
        yield Finding(Level.MISSING, ABOUT, "Endpoint can't be read: no archive is known")
        yield Finding(Level.ASK, ABOUT, "Ask for the DICOMweb root and set `dicomweb.base_url`.")


def _probe(client: FhirClient, root: str) -> Iterator[Finding]:
    """A search for a study that nobody has: what comes back is about no patient."""
    try:
        server = client.server
        with FhirClient(archive_of(server, root)) as line:
            Archive(line, Allowance(server.dicomweb.response_bytes)).probe()
    except FhirError as error:
        yield Finding(Level.REFUSED, ABOUT, str(error))
        if isinstance(error, SignInRefused | Forbidden):
            text = "Ask for an account that may search and read metadata (QIDO-RS, WADO-RS)."
            yield Finding(Level.ASK, ABOUT, text)
        return
    yield Finding(Level.WORKS, ABOUT, "the archive answers searches (QIDO-RS)")
