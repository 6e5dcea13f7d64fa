"""Requests nobody thought of, made from the OpenAPI document: none ends in a 5xx, an answer that
the document does not name, or a body that is not of its schema. Read by schemathesis, which
shares nothing with our code; asked of the composed service over a real FHIR server."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import create_app
from service.auth import Role
from service.config import load_config
from service.pages.site import pages
from service.sandbox.testing import running_sandbox
from service.wsgi import compose

pytestmark = pytest.mark.slow

EXAMPLES = 6
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
]
WANTED = {"server": "sandbox", "patient": "demo-001"}
KNOWN_BODIES = {
    "POST /api/v1/runs": WANTED,
    "POST /api/v1/twins/{pseudonym}/whatif": {"model": "prevent", "changes": {"systolic-bp": 120}},
}


class Whole(NamedTuple):
    """The composed service with one finished run, and a key for each kind of caller."""

    app: Flask
    schema: Any
    headers: dict[Role, dict[str, str]]
    known: dict[str, Any]
    """What generated paths would hardly ever name: things that are there."""

    def operations(self) -> list[Any]:
        return [found.ok() for found in self.schema.get_all_operations()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with running_sandbox() as sandbox:
        config = load_config(
            {
                "TWINPORT_HOME": str(tmp_path_factory.mktemp("generated") / "home"),
                "TWINPORT_SERVERS__SANDBOX__BASE_URL": sandbox.base_url,
                "TWINPORT_JOBS__POLL_SECONDS": "0.02",
                "TWINPORT_WEB__REQUESTS_PER_MINUTE": "100000",
            }
        )
        services = compose(config)
        services.start()
        app = create_app(config, services, pages=[pages])
        issue = services.access.api_keys.issue

        def headers(role: Role, twin: str | None = None) -> dict[str, str]:
            return {"Authorization": f"Bearer {issue(role, label='test', twin=twin).text}"}

        ehr = headers(Role.EHR)
        run = app.test_client().post("/api/v1/runs", json=WANTED, headers=ehr).get_json()
        yield Whole(
            app,
            schemathesis.openapi.from_wsgi("/openapi.json", app, headers=ehr),
            {
                Role.EHR: ehr,
                Role.PATIENT: headers(Role.PATIENT, run["twin"]),
                Role.PRIVACY_OFFICER: headers(Role.PRIVACY_OFFICER),
                Role.ADMIN: headers(Role.ADMIN),
            },
            {"pseudonym": run["twin"], "run_id": run["id"], "version": 1, "model_id": "prevent"},
        )
        services.stop()


def test_no_generated_request_ends_in_what_is_not_documented(whole: Whole) -> None:
    asked: Counter[tuple[Role, int]] = Counter()
    for operation in whole.operations():
        _ask(whole, operation, asked)
    # Not all of them turned away at the door.
    assert {role for role, _ in asked} == set(Role)
    assert {200, 403, 404, 422} <= {status for _, status in asked}


def _ask(whole: Whole, operation: Any, asked: Counter[tuple[Role, int]]) -> None:
    """Ask one operation what its schema allows and what it does not, as every kind of caller."""

    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(whole, operation), role=st.sampled_from([Role.EHR, *Role]))
    def ask(case: Any, role: Role) -> None:
        answer = case.call(headers=whole.headers[role])
        asked[role, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()


def _cases(whole: Whole, operation: Any) -> st.SearchStrategy[Any]:
    names = [parameter.name for parameter in operation.path_parameters]
    things = [{}, {name: whole.known[name] for name in names}] if names else [{}]
    bodies = [NOT_SET, KNOWN_BODIES[operation.label]] if operation.body else [NOT_SET]
    return st.one_of(
        operation.as_strategy(mode, path_parameters=thing, body=body)
        for mode in GenerationMode
        for thing in things
        for body in bodies
    )
