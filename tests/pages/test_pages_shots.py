"""Each picture of the documentation is there, small, and shown."""

import pytest
from pages_shots import IMAGES, SHOTS

MOST = 300_000  # bytes
PICTURES = [(page, name) for page, shots in SHOTS.items() for name in shots]


@pytest.mark.parametrize(("page", "name"), PICTURES)
def test_the_picture_is_there_and_shown(page: str, name: str) -> None:
    picture = IMAGES / f"{name}.png"
    assert picture.is_file(), "run: pytest -m browser --screenshots tests/pages"
    assert 20_000 < picture.stat().st_size < MOST
    text = IMAGES.parent.joinpath(page).read_text(encoding="utf-8")
    assert f"](images/{name}.png)" in text
