"""The whole service, an EHR with its own sign-in, and a browser between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests
from flask.testing import FlaskClient
from joserfc.jwk import ECKey, RSAKey
from smart_ehr import CLIENT, SECRET, Login, build
from werkzeug.test import TestResponse

from service.app import create_app
from service.config import load_config
from service.pages.site import pages
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.server import sandbox_of
from service.sandbox.serving import serving
from service.wsgi import assembled, launches

PUBLIC = "https://twin.example.org"


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    found = Login(
        RSAKey.generate_key(2048, {"kid": "ehr-1"}), ECKey.generate_key("P-384", {"kid": "app-1"})
    )
    app = build(found)
    with serving(app) as server:
        found.base = f"http://127.0.0.1:{server.server_port}{sandbox_of(app).prefix}"
        yield found


@dataclass
class Browser:
    """Follows the way of a launch as a person's browser would."""

    client: FlaskClient
    login: Login

    def start(self, **query: str) -> TestResponse:
        return self.client.get("/launch", query_string=query, headers=HTML)

    def launched(self) -> TestResponse:
        return self.start(iss=self.login.base, launch="opaque-1")

    def sent_back(self, answer: TestResponse) -> str:
        """The path that the EHR sends the browser to."""
        assert answer.status_code == 303, answer.text
        there = requests.get(answer.headers["Location"], allow_redirects=False, timeout=120)
        assert there.status_code == 302, there.text
        back = urlsplit(there.headers["Location"])
        assert f"{back.scheme}://{back.netloc}" == PUBLIC
        return f"{back.path}?{back.query}"

    def arrive(self, path: str) -> TestResponse:
        return self.client.get(path, headers=HTML)

    def through(self) -> TestResponse:
        return self.arrive(self.sent_back(self.launched()))


HTML = {"Accept": "text/html"}


@dataclass
class Site:
    """The service; `browser()` is a new one, with no cookie."""

    runtime: Runtime
    login: Login

    def __post_init__(self) -> None:
        services = assembled(self.runtime)
        self.services = services
        self.app = create_app(self.runtime.config, services, pages=[pages, launches(self.runtime)])

    def browser(self) -> Browser:
        client = self.app.test_client()
        client.environ_base.update({"wsgi.url_scheme": "https", "HTTP_HOST": "twin.example.org"})
        return Browser(client, self.login)


@pytest.fixture(scope="module")
def runtime(login: Login, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("smart")
    opened = open_runtime(load_config(environment(folder / "home", login)))
    yield opened
    opened.close()


def environment(home: object, login: Login, **more: str) -> dict[str, str]:
    return {
        "TWINPORT_HOME": str(home),
        "TWINPORT_WEB__PUBLIC_URL": PUBLIC,
        "TWINPORT_WEB__REQUESTS_PER_MINUTE": "10000",
        "TWINPORT_JOBS__POLL_SECONDS": "0.02",
        "TWINPORT_SERVERS__EHR__BASE_URL": login.base,
        "TWINPORT_SERVERS__EHR__WRITE_BACK": "false",
        "TWINPORT_SERVERS__EHR__LAUNCH__CLIENT_ID": CLIENT,
        "TWINPORT_SERVERS__EHR__LAUNCH__CLIENT_SECRET": SECRET,
        "TWINPORT_SERVERS__OTHER__BASE_URL": "https://other.example.org/r4",
        **more,
    }


@pytest.fixture(scope="module")
def site(runtime: Runtime, login: Login) -> Iterator[Site]:
    found = Site(runtime, login)
    found.services.start()
    yield found
    found.services.stop()


@pytest.fixture
def browser(site: Site) -> Browser:
    site.login.bad, site.login.how = {}, "secret"
    return site.browser()
