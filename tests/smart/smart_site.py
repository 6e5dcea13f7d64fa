"""The whole service, and the browser of somebody whom an EHR sends to it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from flask.testing import FlaskClient
from smart_ehr import CLIENT, SECRET, Login
from werkzeug.test import TestResponse

from service.app import create_app
from service.pages.site import pages
from service.pipeline.runtime import Runtime
from service.wsgi import assembled, launches

PUBLIC = "https://twin.example.org"


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
