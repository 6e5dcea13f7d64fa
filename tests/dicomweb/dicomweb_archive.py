"""An imaging archive for tests, on a real port, that can be told to misbehave; and its patient."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any, Self

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from service.config.sections import ServerAuth, ServerDicomWeb
from service.dicomweb import SLICE, with_acquisition
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import Limits, ServerConfig

Json = dict[str, Any]
Answer = Callable[[Request], Response]

STUDY, MRN, BIRTH = "2.999.7.1559319163074", "5295866", "19541103"
QUICK = Limits(tries=2, first_pause_seconds=0.01, longest_pause_seconds=0.05, read_seconds=2)


def element(vr: str, *values: Any) -> Json:
    return {"vr": vr, "Value": list(values)}


def ct_image(series: str = "1", number: int = 1, **changes: Json) -> Json:
    uid = f"{STUDY}.{series}"
    base = {
        "00080018": element("UI", f"{uid}.{number}"),
        "00080060": element("CS", "CT"),
        "00100010": element("PN", {"Alphabetic": "Okonkwo^Ngozi"}),
        "00100020": element("LO", MRN),
        "00100030": element("DA", BIRTH),
        "00180015": element("CS", "CHEST"),
        "00180050": element("DS", "1.25"),
        "00181151": element("IS", 100 + number),
        "0020000D": element("UI", STUDY),
        "0020000E": element("UI", uid),
        "00200011": element("IS", int(series)),
        "00200013": element("IS", number),
    }
    return base | {key.removeprefix("t"): value for key, value in changes.items()}


def first(dataset: Json, tag: str) -> Any:
    return dataset[tag]["Value"][0]


class ArchiveServer:
    """`images` is what it holds. `on(what, answer)` replaces an answer: what is `studies`,
    `series`, `instances`, `metadata`, `series-metadata`, or a path below the origin."""

    def __init__(self, *images: Json) -> None:
        self.images = list(images)
        self.requests: list[Request] = []
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.root = f"{self.origin}/dicom-web"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def on(self, what: str, answer: Answer) -> None:
        self._answers[what] = answer

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def _app(self, environ: Any, start: Any) -> Any:
        request = Request(environ)
        with self._lock:
            self.requests.append(request)
        return self._answer(request)(environ, start)

    def _answer(self, request: Request) -> Response:
        what = self._what(request.path)
        answer = self._answers.get(request.path) or self._answers.get(what)
        if answer is not None:
            return answer(request)
        found = self._rows(what, request.path)
        if what in ("studies", "series", "instances"):
            found = page(found, request)
        return dicom(found) if found is not None else Response(status=404)

    def _what(self, path: str) -> str:
        names = [p for p in path.removeprefix("/dicom-web/").split("/") if p.isalpha()]
        if names[-1:] == ["metadata"]:
            return "metadata" if "instances" in names else "series-metadata"
        return names[-1] if names else ""

    def _rows(self, what: str, path: str) -> Any:
        uids = re.findall(r"/([0-9.]+)(?=/|\Z)", path)
        tags = ("0020000D", "0020000E", "00080018")
        held = [i for i in self.images if all(first(i, t) == u for t, u in zip(tags, uids))]  # noqa: B905
        if what == "series":
            return [
                self._series_row(uid, held)
                for uid in dict.fromkeys(first(i, tags[1]) for i in held)
            ]
        if what == "instances":
            return [{t: i[t] for t in ("00080018", "00200013")} for i in held]
        if what in ("metadata", "series-metadata"):
            return held or None
        return [] if what == "studies" else None

    def _series_row(self, uid: str, held: list[Json]) -> Json:
        own = [image for image in held if first(image, "0020000E") == uid]
        kept = ("0020000E", "00080060", "00180015", "00200011")
        row = {tag: own[0][tag] for tag in kept if tag in own[0]}
        return row | {"00201209": element("IS", len(own))}


class _Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def page(found: list[Json], request: Request) -> list[Json]:
    offset = int(request.args.get("offset", 0))
    return found[offset : offset + int(request.args.get("limit", 1000))]


def dicom(rows: Any, status: int = 200) -> Response:
    return Response(json.dumps(rows), status, content_type="application/dicom+json")


def says(status: int, body: Any = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(body, status, headers=named)


# -- the FHIR side ---------------------------------------------------------------------------------


def patient(**changes: Any) -> Json:
    base = {
        "resourceType": "Patient",
        "id": "p1",
        "birthDate": "1954-11-03",
        "identifier": [{"system": "https://ehr.example.org/mrn", "value": MRN}],
    }
    return {**base, **changes}


def study(**changes: Any) -> Json:
    base = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
    }
    return {**base, **changes}


def record(*resources: Json) -> PatientRecord:
    listed = list(resources) or [patient(), study()]
    return PatientRecord("p1", "https://ehr.example.org", listed, {"basis": "server", "slices": []})


def server_at(origin: str, **dicomweb: Any) -> ServerConfig:
    auth = ServerAuth(**dicomweb.pop("auth", {}))
    settings = ServerDicomWeb(**{"enabled": True, "timeout_seconds": 2, **dicomweb})
    return ServerConfig("test", f"{origin}/fhir", auth=auth, dicomweb=settings, limits=QUICK)


def read(archive: ArchiveServer, *resources: Json, **dicomweb: Any) -> PatientRecord:
    """A record with what this archive says, which is configured by its root."""
    server = server_at(archive.origin, base_url=archive.root, **dicomweb)
    with FhirClient(server) as client:
        return with_acquisition(record(*resources), client)


def told(found: PatientRecord) -> Json:
    """The slice of the archive."""
    (part,) = [s for s in found.completeness["slices"] if s["type"] == SLICE]
    return part  # type: ignore[no-any-return]
