"""What is served about the interfaces themselves."""

from flask.testing import FlaskClient

from twin_engine.document import schema


def test_the_schema_of_the_twin_is_served_to_anybody(client: FlaskClient) -> None:
    answer = client.get("/schemas/twin-1.json")
    assert (answer.status_code, answer.content_type) == (200, "application/schema+json")
    assert answer.get_json(force=True) == schema()
