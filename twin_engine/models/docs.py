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
    "To add one, see [Writing a model](writing-a-model.md).",
    "",
    "FRAX is not here: its equations are proprietary and unpublished.",
    "Run a model on a table with `twinport models run ID --in rows.csv --out out.csv`; read a card "
    "with `twinport models card ID`.",
]


def main(folder: Path) -> None:
    for name, text in pages().items():
        folder.joinpath(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
