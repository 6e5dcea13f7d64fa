"""Writes docs/models/coverage.md: what each model says to the sandbox's made-up patients.

`python tests/models/models_coverage.py > docs/models/coverage.md`, in the repository's root.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from service.config import load_config
from service.fhir.bundle import read_bundle
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import TEST_ANCHOR, population
from twin_engine.models.assess import Request, assess
from twin_engine.models.contract import REASONS
from twin_engine.models.registry import all_models, default_models
from twin_engine.state import State

SETTINGS = {"region-score2": "low", "region-kfre": "north-american"}
HEAD = f"""# Coverage

Made by `tests/models/models_coverage.py`: every installed model on the {{count}} made-up patients
of the [sandbox](../sandbox.md), read from a file as of {TEST_ANCHOR}, with the policy
`safe-harbor` and the settings {", ".join(f'`{k} = "{v}"`' for k, v in SETTINGS.items())}.
A model *answers* when it gives every outcome it reports, answers *in part* when it gives some, and
otherwise refuses. A person may be counted under several reasons; the input a reason is about stands
behind it. These patients were made up to be awkward: the table shows that refusals have reasons,
not how often a model would refuse anywhere else.

| model | run by itself | answers | in part | refuses | why not |
|---|---|---|---|---|---|
"""

Assessment = Mapping[str, Any]


def page() -> str:
    states = list(_states())
    usual = {model.id for model in default_models(SETTINGS)}
    rows = [
        _row(model.id, model.id in usual, _answers(Request(model, settings=SETTINGS), states))
        for model in all_models().values()
    ]
    return HEAD.format(count=len(states)) + "\n".join(rows) + "\n\n" + _words()


def _states() -> Iterable[State]:
    """The twins of the population, made the way a run makes them."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = open_runtime(load_config({"TWINPORT_HOME": folder + "/home"}))
        wish = Wish("safe-harbor", (), "stated", TEST_ANCHOR)
        file = Path(folder, "record.json")
        for person in population(TEST_ANCHOR):
            file.write_bytes(orjson.dumps(person.bundle()))
            (record,) = read_bundle(file)
            yield State(runtime.maker.make(record, wish).twin.document)
        runtime.close()


def _answers(asked: Request, states: Iterable[State]) -> list[Assessment]:
    return [found for state in states for found in assess(state, [asked])]


def _row(model_id: str, usual: bool, found: Sequence[Assessment]) -> str:
    said = Counter(one["answer"] for one in found)
    reasons = Counter(
        reason for one in found for reason in {_reason(refusal) for refusal in one["refusals"]}
    )
    order = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    why = "; ".join(f"{count} {reason}" for reason, count in order)
    counts = " | ".join(str(said[word]) for word in ("given", "partial", "refused"))
    return f"| [{model_id}]({model_id}.md) | {'yes' if usual else 'no'} | {counts} | {why} |"


def _reason(refusal: Assessment) -> str:
    about = f" ({refusal['input']})" if "input" in refusal else ""
    return f"`{refusal['reason']}`{about}"


def _words() -> str:
    lines = [f"- `{reason.id}`: {reason.sentence}" for reason in REASONS.values()]
    return "## Reasons\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
