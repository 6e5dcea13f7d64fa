"""Write the pages of docs/models from the cards: `python -m twin_engine.models.docs FOLDER`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from twin_engine.models.cards import markdown
from twin_engine.models.shipped import models


def pages() -> Mapping[str, str]:
    """File name to text of every generated page."""
    shipped = {model.id: model for model in models()}
    index = ["# Models", "", "Generated from the models' cards.", ""]
    index += [f"- [{one.title}]({name}.md) (`{name}`)" for name, one in sorted(shipped.items())]
    index += ["", *ABSENT]
    return {"index.md": "\n".join(index) + "\n"} | {
        f"{name}.md": markdown(one) for name, one in shipped.items()
    }


ABSENT = [
    "To add one, see [Writing a model](writing-a-model.md). To ask one with other inputs or about "
    "a treatment, see [What if](what-if.md). How often each answers on the sandbox's made-up "
    "patients, and why not, is in [Coverage](coverage.md). To see how well one holds where it is "
    "used, see [Validating a model](validation.md).",
    "",
    "A model that reads a region answers on a twin once the installation has stated it:",
    "",
    "```toml",
    "[models.settings]",
    'region-score2 = "low"            # low, moderate, high, very-high',
    'region-kfre = "north-american"   # or non-north-american',
    "```",
    "",
    "`news2` and `qsofa` are time-critical: they are computed of rows, one observation set each, "
    "and never of a twin, which holds no single moment. So are the scores and criteria that need "
    "a person's own answers (`has-bled`, `findrisc`, `ada-diabetes-risk`, `plcom2012`, "
    "`lung-screening`, `bcrat`).",
    "",
    "Left out, because nothing certain can be shipped: FRAX (proprietary and unpublished); event "
    "rates beside CHA2DS2-VASc (cohorts differ several-fold); the Asian form of the ADA test; "
    "predicted peak flow and numeric asthma exacerbation models.",
    "",
    "`pgx` looks up what CPIC's guidelines say and predicts nothing. It runs by itself on a twin "
    "that holds genes, and says nothing on one that does not.",
    "",
    "Run a model on a table with `twinport models run ID --in rows.csv --out out.csv`; read a card "
    "with `twinport models card ID`.",
]


def main(folder: Path) -> None:
    for name, text in pages().items():
        folder.joinpath(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
