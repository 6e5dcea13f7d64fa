"""The summary to print, read by a PDF reader that nobody here wrote."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pages_site import FULL, REFUSED, Site

from service.pages.printed import summary_pdf

pytestmark = pytest.mark.browser  # with the other tests that read PDFs


def read(data: bytes, folder: Path) -> str:
    reader = shutil.which("pdftotext")
    assert reader, "apt-get install poppler-utils"
    (folder / "summary.pdf").write_bytes(data)
    command = [reader, "-layout", "summary.pdf", "-"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("patient", [FULL, REFUSED])
def test_a_summary_says_what_the_twin_says_and_what_it_is_not(
    site: Site, document: Callable[[str], Mapping[str, Any]], tmp_path: Path, patient: str
) -> None:
    twin = document(patient)
    cards = site.service.runtime.versions.cards(twin)
    data = summary_pdf(twin, cards, "sha256:" + "0" * 64)
    assert data == summary_pdf(twin, cards, "sha256:" + "0" * 64)
    text = " ".join(read(data, tmp_path).split())
    for said in (
        "Summary of a twin",
        f"Twin {twin['twin']['id']}, version {twin['twin']['version']}",
        *("Illnesses and other findings", "Allergies", "Medicines", "Newest values"),
        "they make no diagnosis",
        "This paper proves nothing.",
        "sha256:000000",
    ):
        assert said in text
    for assessment in twin["assessments"]:
        assert cards[assessment["model"]["id"]]["title"] in text
