"""Each picture of the documentation is there, small, and shown."""

import pytest
from pages_shots import IMAGES, SHOTS

MOST = 300_000  # bytes


@pytest.mark.parametrize("name", SHOTS)
def test_the_picture_is_there_and_shown(name: str) -> None:
    picture = IMAGES / f"{name}.png"
    assert picture.is_file(), "run: pytest -m browser --screenshots tests/pages"
    assert 20_000 < picture.stat().st_size < MOST
    page = IMAGES.parent.joinpath("clinician.md").read_text(encoding="utf-8")
    assert f"](images/{name}.png)" in page
