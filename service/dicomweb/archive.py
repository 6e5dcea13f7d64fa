"""One DICOMweb archive: searches and metadata through `dicomweb-client`, on our own wire.

The library builds the requests; they travel through a `FhirClient`, so that sign-in, repetition,
redirects, caps and time-outs are those of every other server here. It never gets to log a UID.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
import requests

from service.dicomweb.dataset import (
    BODY_PART,
    IMAGES_IN_SERIES,
    INSTANCE,
    INSTANCE_NUMBER,
    LATERALITY,
    MODALITY,
    SERIES,
    SERIES_NUMBER,
    Dataset,
    rows,
    text,
)
from service.fhir.errors import (
    Cancelled,
    FhirError,
    Forbidden,
    NotDicom,
    NotFound,
    SignInRefused,
    TooLarge,
    TransportError,
)
from service.fhir.http import FhirClient, refusal

DICOM_JSON = "application/dicom+json"
PAGE = 100
LISTED = 200
"""Instances listed of a series, to choose from"""
NOBODYS_STUDY = "2.25.0"
"""A UID that no study has: asking for it tells whether an archive answers, and nothing else."""

_PLAIN = frozenset({"studies", "series", "instances", "metadata"})
_SERIES_FIELDS = [MODALITY, SERIES, SERIES_NUMBER, BODY_PART, LATERALITY, IMAGES_IN_SERIES]
_HOPELESS = (TransportError, SignInRefused, Forbidden)
"""What the next question would only meet again"""

Answer = TypeVar("Answer")


class Archive:
    """Safe for several threads. Raises `FhirError`s; one that is away is asked once."""

    def __init__(self, line: FhirClient, allowance: "Allowance") -> None:
        from dicomweb_client.api import DICOMwebClient  # half a second, for those who need it

        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL + 1)  # it logs UIDs
        self._client = DICOMwebClient(line.server.base_url, session=_Session(line, allowance))
        self._client.set_http_retry_params(retry=False)  # repetition is the wire's
        self._away: FhirError | None = None

    def probe(self) -> None:
        """Whether it answers searches at all; raises where it does not."""
        nobody = {"StudyInstanceUID": NOBODYS_STUDY}
        self._searched(lambda: self._client.search_for_studies(search_filters=nobody, limit=1))

    def series(
        self, study: str, most: int, expected: int | None = None
    ) -> tuple[list[Dataset], bool]:
        """The series of a study, and whether they are all. Servers cap a page as they like and
        some ignore `offset`: the end is a page that brings nothing new."""
        found: dict[str, Dataset] = {}
        while len(found) <= most:
            page, before = self._series_page(study, len(found)), len(found)
            found |= {uid: row for row in page if (uid := text(row, SERIES)) and uid not in found}
            enough = expected is not None and expected <= len(found) and len(page) < PAGE
            if len(found) == before or enough:
                break
        return list(found.values())[:most], len(found) <= most

    def _series_page(self, study: str, offset: int) -> list[Dataset]:
        return self._searched(
            lambda: self._client.search_for_series(
                study, limit=PAGE, offset=offset, fields=_SERIES_FIELDS
            )
        )

    def instances(self, study: str, series: str) -> list[Dataset]:
        """Some instances of a series, enough to choose from."""
        return self._searched(
            lambda: self._client.search_for_instances(
                study, series, limit=LISTED, fields=[INSTANCE, INSTANCE_NUMBER]
            )
        )

    def instance_metadata(self, study: str, series: str, instance: str) -> list[Dataset]:
        ask = self._client.retrieve_instance_metadata
        try:
            return rows([self._asked(lambda: ask(study, series, instance))])
        except IndexError:  # an empty list
            return []

    def series_metadata(self, study: str, series: str) -> list[Dataset]:
        return rows(self._asked(lambda: self._client.retrieve_series_metadata(study, series)))

    def _searched(self, ask: Callable[[], Any]) -> list[Dataset]:
        """Nothing found is an empty list, a 204, or, with some servers, a 404."""
        try:
            return rows(self._asked(ask))
        except NotFound:
            return []

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        if self._away is not None:
            raise self._away
        try:
            return ask()
        except Cancelled:
            raise
        except _HOPELESS as error:
            self._away = error
            raise


class Allowance:
    """Bytes that may still be read about one patient. What is read stays in memory until the twin
    is made: a cap on each answer alone would be none."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int, what: str) -> None:
        with self._lock:
            self._left -= size
            if self._left <= 0:
                raise TooLarge(what)


class _Session(requests.Session):
    """What `dicomweb-client` takes for its connection: our wire."""

    def __init__(self, line: FhirClient, allowance: Allowance) -> None:
        super().__init__()
        self._line, self._allowance = line, allowance
        self._root = urlsplit(line.server.base_url).path

    def get(self, url: str | bytes, **_: Any) -> requests.Response:
        """Whatever goes wrong is raised where the library looks at the status: in here, the one
        that it repeats requests with would log it."""
        what = f"GET {self.template(str(url))}"
        try:
            self._allowance.take(0, what)  # nothing left: not asked at all
            raw = self._line.get(str(url), {"Accept": DICOM_JSON}, what)
            self._allowance.take(len(raw.body), what)
        except FhirError as error:
            return _Answer(what, b"", error)
        refused = None if 200 <= raw.status < 300 else refusal(what, raw.status, None, {})
        return _Answer(what, raw.body, refused)

    def template(self, url: str) -> str:
        """The path below the root with a mark in the place of each UID; without the query."""
        path = urlsplit(url).path.removeprefix(self._root)
        return "/".join(part if part in _PLAIN or not part else "{uid}" for part in path.split("/"))


class _Answer(requests.Response):
    """Only what the library looks at, and none of the headers, which it would log."""

    def __init__(self, what: str, body: bytes, error: FhirError | None) -> None:
        super().__init__()
        self.status_code = 200
        self._what, self._error = what, error
        self._content = body

    def raise_for_status(self) -> None:
        if self._error is not None:
            raise self._error

    def json(self, **_: Any) -> Any:
        """A list of data sets; one alone is taken for a list of one."""
        try:
            found = orjson.loads(self._content or b"[]")
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, list | dict):
            raise NotDicom(self._what)
        return [found] if isinstance(found, dict) else found
