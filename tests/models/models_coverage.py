"""Writes docs/models/coverage.md: what each model says to the sandbox's made-up patients.

`python tests/models/models_coverage.py > docs/models/coverage.md`, in the repository's root. With a
folder of Bundles behind it, the same of those: docs/models/coverage-synthea.md was made so.
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
from service.fhir.record import PatientRecord
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import TEST_ANCHOR, population
from twin_engine.models.assess import Request, assess
from twin_engine.models.contract import REASONS
from twin_engine.models.registry import all_models, default_models
from twin_engine.state import State

SETTINGS = {"region-score2": "low", "region-kfre": "north-american"}
SETTINGS_SAID = ", ".join(f'`{name} = "{word}"`' for name, word in SETTINGS.items())
HEAD = f"""# Coverage

Made by `tests/models/models_coverage.py`: every installed model on the {{count}} made-up patients
of the [sandbox](../sandbox.md), read from a file as of {TEST_ANCHOR}, with the policy
`safe-harbor` and the settings {SETTINGS_SAID}.
A model *answers* when it gives every outcome it reports, answers *in part* when it gives some, and
otherwise refuses. A person may be counted under several reasons; the input a reason is about stands
behind it. These patients were made up to be awkward: the table shows that refusals have reasons,
not how often a model would refuse anywhere else. [The same of patients of
Synthea](coverage-synthea.md).

| model | run by itself | answers | in part | refuses | why not |
|---|---|---|---|---|---|
"""

SYNTHEA = f"""# Coverage on patients of Synthea

The same table as [coverage](coverage.md), of the {{count}} patients of
[smart-on-fhir/generated-sample-data](https://github.com/smart-on-fhir/generated-sample-data) (R4)
that the [performance](../performance.md) page measures: each file as it is published, as of its
newest record, policy `safe-harbor`, settings {SETTINGS_SAID}. Made by
`tests/models/models_coverage.py FOLDER`; the files do not come with Twinport, so no test makes this
page anew. Synthea's patients have been treated for what they have, and few of them are ill: that,
and what its modules leave out, is what the reasons show.

| model | run by itself | answers | in part | refuses | why not |
|---|---|---|---|---|---|
"""

Assessment = Mapping[str, Any]


def page(head: str = HEAD, folder: Path | None = None) -> str:
    states = list(_states(_records() if folder is None else _published(folder)))
    usual = {model.id for model in default_models(SETTINGS)}
    rows = [
        _row(model.id, model.id in usual, _answers(Request(model, settings=SETTINGS), states))
        for model in all_models().values()
    ]
    return head.format(count=len(states)) + "\n".join(rows) + "\n\n" + _words()


Records = Iterable[tuple[PatientRecord, Wish]]


def _states(records: Records) -> Iterable[State]:
    """Twins, made the way a run makes them."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = open_runtime(load_config({"TWINPORT_HOME": folder + "/home"}))
        for record, wish in records:
            yield State(runtime.maker.make(record, wish).twin.document)
        runtime.close()


def _records() -> Records:
    """The population."""
    wish = Wish("safe-harbor", (), "stated", TEST_ANCHOR)
    for person in population(TEST_ANCHOR):
        (record,) = read_bundle(orjson.dumps(person.bundle()))
        yield record, wish


def _published(folder: Path) -> Records:
    for file in sorted(folder.glob("*.json*")):
        for record in read_bundle(file):
            yield record, Wish("safe-harbor", (), "record")


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
    given = [Path(text) for text in sys.argv[1:]]
    sys.stdout.write(page(SYNTHEA, *given) if given else page())
