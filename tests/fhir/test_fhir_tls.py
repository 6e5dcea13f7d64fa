"""Over TLS a server is who its certificate says, vouched for by somebody we trust."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fhir_servers import QUICK, ScriptedServer, client_for, fhir

from service.fhir import errors

PATIENT = {"resourceType": "Patient", "id": "p1"}


def _certificate(folder: Path, name: str) -> Path:
    """Of a host, signed by itself; the key stands in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = folder / f"{name}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    return file


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return {name: _certificate(folder, name) for name in ("localhost", "elsewhere")}


class _TlsServer(ScriptedServer):
    def __init__(self, certificate: Path) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.base = f"https://localhost:{self._server.server_port}/fhir"
        self.on("Patient/p1", fhir(PATIENT))


@pytest.fixture
def server(certificates: dict[str, Path]) -> Iterator[_TlsServer]:
    with _TlsServer(certificates["localhost"]) as running:
        yield running


def test_a_certificate_of_an_authority_that_is_configured(
    server: _TlsServer, certificates: dict[str, Path]
) -> None:
    with client_for(server.base, ca_file=str(certificates["localhost"])) as client:
        assert client.read("Patient", "p1").resource == PATIENT
        assert client.read("Patient", "p1").resource == PATIENT


@pytest.mark.parametrize("authority", [None, "elsewhere"])
def test_nothing_is_sent_to_whom_nobody_vouches_for(
    server: _TlsServer, certificates: dict[str, Path], authority: str | None
) -> None:
    trusted = {"ca_file": str(certificates[authority])} if authority else {}
    with client_for(server.base, limits=QUICK, **trusted) as client:
        for _ in range(2):  # nor on a second try over the same connections
            with pytest.raises(errors.Unreachable):
                client.read("Patient", "p1")
    assert server.requests == []


def test_nor_to_another_host_than_the_certificate_names(certificates: dict[str, Path]) -> None:
    with (
        _TlsServer(certificates["elsewhere"]) as server,
        client_for(server.base, ca_file=str(certificates["elsewhere"])) as client,
    ):
        with pytest.raises(errors.Unreachable):
            client.read("Patient", "p1")
        assert server.requests == []
