"""`python -m bench.served PORT DAY`: the sandbox that pulls are measured on, until it is stopped.

Its population, and one patient more: `PATIENT` with thousands of Observations.
"""

import sys
import threading
from collections.abc import Iterator
from datetime import date
from itertools import count, islice

import orjson

from service.sandbox import PatientBundle, create_sandbox, generate
from service.sandbox.serving import serving

PATIENT = "long-001"
OBSERVATIONS = 5_000
MODEL = "demo-001"


def long_record(people: list[PatientBundle]) -> PatientBundle:
    """The record of another, with their Observations again and again under new ids."""
    model = next(person for person in people if person.id == MODEL)
    plain = [orjson.dumps(resource) for resource in model.resources]
    observations = [line for line in plain if b'"resourceType":"Observation"' in line]
    others = [line for line in plain if line not in observations]
    lines = [*others, *islice(_repeated(observations), OBSERVATIONS)]
    renamed = (line.replace(MODEL.encode(), PATIENT.encode()) for line in lines)
    return PatientBundle(PATIENT, "A long record.", tuple(map(orjson.loads, renamed)))


def _repeated(observations: list[bytes]) -> Iterator[bytes]:
    for turn in count():
        for line in observations:
            resource = orjson.loads(line)
            if turn:
                resource["id"] += f"-{turn}"
            yield orjson.dumps(resource)


def main() -> None:
    port, day = int(sys.argv[1]), date.fromisoformat(sys.argv[2])
    people = generate(day)
    with serving(create_sandbox([*people, long_record(people)]), port=port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
