"""The whole service with CDS Hooks, an EHR with its data, and its key."""

from collections.abc import Iterator

import orjson
import pytest
from cds_client import ISSUER, PUBLIC, Ehr
from joserfc.jwk import ECKey

from service.app import create_app
from service.config import load_config
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.testing import RunningSandbox, population, running_sandbox
from service.stores.database import utc_now
from service.wsgi import assembled, hooks


@pytest.fixture(scope="session")
def key() -> ECKey:
    return ECKey.generate_key("P-384", {"kid": "ehr-1"})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    wanted = ("demo-008", "demo-003", "demo-012")
    people = [one for one in population(utc_now().date()) if one.id in wanted]
    with running_sandbox(people) as found:
        yield found


@pytest.fixture(scope="module")
def runtime(
    sandbox: RunningSandbox, key: ECKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("cds")
    keys = folder / "jwks.json"
    keys.write_bytes(orjson.dumps({"keys": [key.as_dict(private=False)]}))
    opened = open_runtime(
        load_config(
            {
                "TWINPORT_HOME": str(folder / "home"),
                "TWINPORT_WEB__PUBLIC_URL": PUBLIC,
                "TWINPORT_WEB__REQUESTS_PER_MINUTE": "10000",
                "TWINPORT_SERVERS__EHR__BASE_URL": sandbox.base_url,
                "TWINPORT_SERVERS__EHR__CDS__ISSUER": ISSUER,
                "TWINPORT_SERVERS__EHR__CDS__JWKS_FILE": str(keys),
            }
        )
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ehr(runtime: Runtime, sandbox: RunningSandbox, key: ECKey) -> Ehr:
    app = create_app(runtime.config, assembled(runtime), pages=[hooks(runtime)])
    return Ehr(app.test_client(use_cookies=False), sandbox, key)
