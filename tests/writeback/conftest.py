"""Real results of one made-up patient, to be written again and again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from writeback_storm import Scene

from service.config import load_config
from service.fhir.bundle import read_bundle
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import TEST_ANCHOR, population


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """What a run of demo-008 would write: a RiskAssessment and an Observation, each with its
    Device and Provenance; and an empty database."""
    folder = tmp_path_factory.mktemp("scene")
    person = next(one for one in population(TEST_ANCHOR) if one.id == "demo-008")
    record = folder / "record.json"
    record.write_bytes(orjson.dumps(person.bundle()))
    runtime = open_runtime(load_config({"TWINPORT_HOME": str(folder / "home")}))
    wish = Wish(policy="safe-harbor", models=runtime.models(), as_of="record")
    made = runtime.maker.make(read_bundle(record)[0], wish)
    parcels = [
        {"key": parcel.key, "resources": parcel.resources} for parcel in runtime.results(made)
    ]
    empty = folder / "empty.db"
    runtime.close()
    shutil.copyfile(folder / "home/twinport.db", empty)
    (folder / "parcels.json").write_bytes(orjson.dumps(parcels))
    with Scene.opened(folder, person.resources, parcels) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path
