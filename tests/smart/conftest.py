"""The whole service, an EHR with its own sign-in, and a browser between them."""

from collections.abc import Iterator

import pytest
from joserfc.jwk import ECKey, RSAKey
from smart_ehr import Login, build
from smart_site import Browser, Site, environment

from service.config import load_config
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.server import sandbox_of
from service.sandbox.serving import serving


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    found = Login(
        RSAKey.generate_key(2048, {"kid": "ehr-1"}), ECKey.generate_key("P-384", {"kid": "app-1"})
    )
    app = build(found)
    with serving(app) as server:
        found.base = f"http://127.0.0.1:{server.server_port}{sandbox_of(app).prefix}"
        yield found


@pytest.fixture(scope="module")
def runtime(login: Login, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("smart")
    opened = open_runtime(load_config(environment(folder / "home", login)))
    yield opened
    opened.close()


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
