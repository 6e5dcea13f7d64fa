"""Writes docs/policies.md: what each policy leaves of the sandbox's made-up patients, and the risk.

`PYTHONPATH=. python tests/privacy/privacy_weighed.py > docs/policies.md`, in the root.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import orjson

from service.cli.weigh import LINES
from service.deidentify.weigh import Weighed, weigh
from service.fhir.bundle import read_bundle
from service.fhir.record import PatientRecord
from service.sandbox.testing import TEST_ANCHOR, population

Json = dict[str, Any]
SETTINGS = {"region-score2": "low", "region-kfre": "north-american"}
HEAD = f"""# The policies, weighed

Made by `tests/privacy/privacy_weighed.py`: the {{people}} made-up patients of the
[sandbox](sandbox.md) as of {TEST_ANCHOR}, under every [policy](privacy.md#policies), with the
settings {", ".join(f'`{k} = "{v}"`' for k, v in SETTINGS.items())}. For records of your own:

```console
twinport policy weigh export/
```

Each policy is held against the record as it is: true dates, codes as fine as they come, no number
rounded. Nothing is kept, and no value is shown; `--json` tells every figure by model.

"""
TAIL = """
How to read it:

- *Inputs of models kept*: of the inputs that the models find in the record as it is, those that
  they find under the policy. Where somebody was measured twice on a day, a policy that counts in
  days does not tell which came later: the input then has the other *value* of that day, and what is
  computed from it another number.
- *Readings* are Observations with one number; one is told *to clinical precision* if it was changed
  by no more than half a step of its concept's precision ([the vocabulary](vocabulary.md)).
- *Alike in a file*: people about whom the Patient resource of a file says the same. The smallest
  group is the *k* of that file for somebody who knows all of it. These are few people, so most are
  alone; among as many as a hospital has it is fewer. `twinport risk` measures held twins against
  thresholds.
- *Found by two facts*: how often somebody finds the right person who has heard two of the values or
  diagnoses, without dates. No policy lowers this: laboratory values single people out, and a policy
  that hid them would leave nothing to predict from.

What to take: `safe-harbor` costs the models no input here. Take `relative-minutes` for streams from
monitors, and the two with dates where the time of year itself is what is studied, on their own
legal basis.

On 24 synthetic patients of Synthea as of 2021-06-01, whose numbers have up to 20 decimals, the
models found 1,118 inputs, and found all of them under every policy; all of 3,844 readings were told
to clinical precision (half of them changed by less than 0.2%). Under `safe-harbor` 15 of the inputs
had another value of the same day, and one outcome of 36 another number. All 24 were alone with what
their Patient resource still said, and two facts found the right one in 85%.
"""


def records() -> Iterator[PatientRecord]:
    for person in population(TEST_ANCHOR):
        yield from read_bundle(orjson.dumps(person.bundle()))


@cache
def weighed() -> tuple[Weighed, ...]:
    return tuple(weigh(records(), SETTINGS, TEST_ANCHOR))


def page() -> str:
    found = [one.as_dict() for one in weighed()]
    table = "".join(f"{line}\n" for line in _table(found))
    return HEAD.format(people=found[0]["people"]) + table + _lost(found) + TAIL


def _table(found: Sequence[Json]) -> Iterator[str]:
    names = [f"`{one['policy']}`" for one in found]
    yield f"| | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(found)
    for part, rows in LINES.items():
        yield f"| **{part}** |" + " |" * len(found)
        for name, told in rows:
            yield f"| {name} | {' | '.join(told(one[part]) for one in found)} |"


def _lost(found: Sequence[Json]) -> str:
    told = {"lost": "No input", "other": "No value of an input"}
    ends = {"lost": "is lost under any policy", "other": "differs under any policy"}
    heads = {"lost": "Inputs that are lost:", "other": "Inputs that have another value:"}
    parts = []
    for kind, none in told.items():
        rows = [
            f"- `{one['policy']}`: {row['input']} of {row['model']} ({row['n']})"
            for one in found
            for row in one["utility"][kind]
        ]
        parts.append("\n".join([heads[kind], "", *rows]) if rows else f"{none} {ends[kind]}.")
    return "\n" + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
