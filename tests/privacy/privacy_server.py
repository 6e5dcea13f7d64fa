"""A FHIR server that hands out whatever it was given, however odd; and says names in its errors."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

Json = dict[str, Any]
Records = Mapping[str, Sequence[Json]]
ABOUT = ("subject", "patient")


@contextmanager
def serving(records: Records, said: str) -> Iterator[str]:
    """The address of a server that holds these patients' resources; `said` is in its errors."""
    handler = type("Handler", (_Handler,), {"held": _by_type(records), "said": said})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _by_type(records: Records) -> Mapping[tuple[str, str], list[Json]]:
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for patient, resources in records.items():
        for resource in resources:
            found[(resource["resourceType"], patient)].append(resource)
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    held: Mapping[tuple[str, str], list[Json]]
    said: str

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        match address.path.strip("/").split("/")[1:]:
            case [kind]:
                self._search(kind, parse_qs(address.query))
            case ["Patient", identity] if ("Patient", identity) in self.held:
                self._answer(200, self.held[("Patient", identity)][0])
            case _:
                self._answer(404, self._outcome("not-found"))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(500, self._outcome("exception"))

    def _search(self, kind: str, asked: Mapping[str, list[str]]) -> None:
        whose = next((asked[key][0] for key in ABOUT if key in asked), "").rpartition("/")[2]
        entries = [{"resource": resource} for resource in self.held.get((kind, whose), ())]
        link = {"relation": "self", "url": f"?family={self.said}"}
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": [link]}
        self._answer(200, bundle)

    def _outcome(self, code: str) -> Json:
        issue = {"severity": "error", "code": code, "diagnostics": f"no such: {self.said}"}
        return {"resourceType": "OperationOutcome", "issue": [issue]}

    def _answer(self, status: int, body: Json) -> None:
        data = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'W/"{self.said}"')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass
