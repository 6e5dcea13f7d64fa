"""Writes the table of `docs/imaging.md`: `python -m service.dicomweb.docs`, from the root.

What may be read of an image stands in three tables (the map's, DICOM's, the policy's); the page
shows them as one.
"""

from pathlib import Path

from mappings import vocabulary
from mappings.vocabulary import Parameter
from privacy.dicom import ATTRIBUTES, listed
from privacy.policy import Policy, load_policy

PAGE = Path("docs/imaging.md")
BEGIN = "<!-- parameters: python -m service.dicomweb.docs -->\n"
END = "<!-- end of parameters -->"


def table(policy: Policy) -> str:
    head = [
        "| parameter | attributes (PS3.6) | defined in | verdict | E.1-1 | unit | possible | of |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = [_row(one, policy) for one in vocabulary.acquisition_parameters().values()]
    return "\n".join([*head, *rows]) + "\n"


def _row(parameter: Parameter, policy: Policy) -> str:
    verdicts = {policy.dicom[path].action for path in parameter.attributes}
    attributes = ", ".join(f"`{path}` {_tag(path)}" for path in parameter.attributes)
    actions = {_action(path) for path in parameter.attributes} - {""}
    cells = [
        f"`{parameter.id}`: {parameter.label}",
        attributes,
        parameter.source.partition("; PS3.6")[0],
        " ".join(sorted(verdicts)),
        " ".join(sorted(actions)) or "not listed",
        f"`{parameter.unit}`" if parameter.unit else "",
        _possible(parameter),
        " ".join(sorted(parameter.modalities)) or "all",
    ]
    return f"| {' | '.join(cells)} |"


def _tag(path: str) -> str:
    tag = ATTRIBUTES[path.rpartition(".")[2]].tag
    return f"({tag[:4]},{tag[4:]})"


def _action(path: str) -> str:
    found = listed(ATTRIBUTES[path.rpartition(".")[2]].tag)
    return found.action if found else ""


def _possible(parameter: Parameter) -> str:
    if parameter.kind == "number":
        low, high = parameter.plausible
        return f"{low:,.9g} to {high:,.9g}"
    return " ".join(parameter.words) if parameter.kind == "code" else "yes or no"


def page(text: str) -> str:
    """The page with a current table."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table(load_policy("safe-harbor")) + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
