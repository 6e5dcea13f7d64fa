"""A real Orthanc on a free port with DICOM files made here, behind a relay that remembers."""

import io
import json
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response, request
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from service.sandbox.dicomweb.images import images
from service.sandbox.population import PatientBundle
from service.sandbox.serving import serving

ACCOUNT = ("twinport", "archive-password")
PIXELS = b"PIXELS-OF-A-PATIENT!"
PLUGINS = Path("/usr/share/orthanc/plugins")

Json = dict[str, Any]


@dataclass
class Orthanc:
    origin: str
    process: "subprocess.Popen[bytes]"

    def store(self, datasets: Iterable[Dataset]) -> None:
        """As files, pixels and all, by its own REST API."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number, dataset in enumerate(datasets):
                archive.writestr(f"{number}.dcm", as_file(dataset))
        answer = self.ask("POST", "/instances", packed.getvalue())
        assert {row["Status"] for row in answer} == {"Success"}

    def forget(self) -> None:
        for patient in self.ask("GET", "/patients"):
            self.ask("DELETE", f"/patients/{patient}")

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        answer = requests.request(method, self.origin + path, data=body, auth=ACCOUNT, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    assert program, "The interop tests need the Debian packages orthanc and orthanc-dicomweb."
    port = free_port()
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(_settings(folder, port)), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=log)
    server = Orthanc(f"http://127.0.0.1:{port}", process)
    try:
        _until_it_answers(server)
        yield server
    finally:
        process.kill()  # it takes seconds to tidy what is thrown away
        process.wait()


def _settings(folder: Path, port: int) -> Json:
    return {
        "Name": "archive",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": dict([ACCOUNT]),
        "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _until_it_answers(server: Orthanc) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.process.poll() is None:
        with suppress(requests.ConnectionError):
            server.ask("GET", "/dicom-web/studies?limit=1")
            return
        time.sleep(0.05)
    raise AssertionError("Orthanc did not start; see its log in the test's folder")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- files -----------------------------------------------------------------------------------------


def as_file(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PixelData = PIXELS
    dataset["PixelData"].VR = "OW"
    written = io.BytesIO()
    dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def images_of(person: PatientBundle) -> list[Dataset]:
    """What the sandbox's own archive shows of its patient, as data sets."""
    patient = next(r for r in person.resources if r["resourceType"] == "Patient")
    studies = (r for r in person.resources if r["resourceType"] == "ImagingStudy")
    return [image for study in studies for image in images(study, patient)]


# -- the relay -------------------------------------------------------------------------------------


@dataclass
class Relay:
    """What came through to the archive: path, query, headers, and the bytes that went back."""

    root: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _, _ in self.seen]

    @property
    def signed_in(self) -> set[str]:
        return {headers.get("Authorization", "") for _, _, headers, _ in self.seen}

    @property
    def bodies(self) -> bytes:
        return b"".join(body for _, _, _, body in self.seen)


@contextmanager
def relay(server: Orthanc) -> Iterator[Relay]:
    """Before an archive stands a proxy, here as in a hospital."""
    app, made = Flask("relay"), Relay()

    @app.get("/<path:path>")
    def forward(path: str) -> Response:
        headers = dict(request.headers)
        url = f"{server.origin}/{path}?{request.query_string.decode()}"
        answer = requests.get(url, headers=headers, timeout=120)
        made.seen.append((path, request.query_string.decode(), headers, answer.content))
        kept = {k: v for k, v in answer.headers.items() if k in ("Content-Type", "Location")}
        return Response(answer.content, answer.status_code, kept)

    with serving(app) as running:
        made.root = f"http://127.0.0.1:{running.server_port}/dicom-web"
        yield made
