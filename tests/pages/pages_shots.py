"""The pictures in the documentation: name and page. Made by the browser tests."""

from pathlib import Path

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SHOTS = {
    "clinic-patient": "/clinic/twins/{twin}",
    "clinic-explain": "/clinic/twins/{twin}/versions/1/explain/systolic-bp",
    "clinic-whatif": "/clinic/twins/{twin}/whatif/ckd-epi-2021",
    "clinic-review": "/clinic/twins/{twin}/review/prevent",
}
