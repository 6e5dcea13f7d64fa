"""`python -m bench.copies PORT NUMBER`: a sandbox that holds one patient many times over.

Every run of a load is then a first one (a new twin, gate, signature, write-back), and all weigh
the same.
"""

import sys
import threading

import orjson

from service.sandbox.population import PatientBundle
from service.sandbox.server import create_sandbox
from service.sandbox.serving import serving
from service.sandbox.testing import population

ORIGINAL = "demo-023"


def copy_id(number: int) -> str:
    return f"copy-{number:04}"


def original() -> PatientBundle:
    return next(person for person in population() if person.id == ORIGINAL)


def _copy(person: PatientBundle, number: int) -> PatientBundle:
    """Every id begins with the patient's, so that renaming one renames all."""
    text = orjson.dumps(person.resources).replace(ORIGINAL.encode(), copy_id(number).encode())
    return PatientBundle(copy_id(number), person.shows, tuple(orjson.loads(text)))


def main(port: int, number: int) -> None:
    app = create_sandbox([_copy(original(), n) for n in range(number)])
    with serving(app, port=port):
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
