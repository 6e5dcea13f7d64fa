"""A run whose caller waits in this process: what is begun for it, and what it has to say."""

import threading
import time
from typing import Any

from service.fhir.errors import FhirError
from service.fhir.http import FhirClient
from service.fhir.servers import ServerConfig
from service.fhir.wire import Connections

Json = dict[str, Any]
AT_ONCE_SECONDS = 1.0  # a run that had to wait longer asks anew, with a budget of its own


class Awaited:
    """Of one run, from before it is written down until its caller has been answered."""

    def __init__(self) -> None:
        self.answers: dict[int, Json] = {}
        """By try: what is answered, as it was made"""
        self._client: FhirClient | None = None
        self._begun = 0.0
        self._over = threading.Event()

    def begin(self, server: ServerConfig, kept: Connections) -> None:
        """Ask a server what it can do. That is about nobody, so it need not wait until it is on the
        disk who asks for whom."""
        try:
            client = FhirClient(server, cancel=self._over, kept=kept)
        except (FhirError, OSError):
            return  # the server is not set up as it should be: the run meets the same, and says so
        self._client, self._begun = client, time.monotonic()
        client.begin()

    def client(self, cancel: threading.Event) -> FhirClient | None:
        """The client that has begun, for the first try that asks soon; from then on `cancel` is
        what stops it."""
        client, self._client = self._client, None
        if client is None or time.monotonic() - self._begun > AT_ONCE_SECONDS:
            self._over.set()
            return None
        client.clock.heed(cancel)
        return client

    def end(self) -> None:
        """What nobody came for is given up."""
        self._over.set()
