"""The link: the specification's own examples in, and what strangers may send."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.signing import b64
from service.portable.errors import PortableError
from service.sharing.link import Link, flags, read

KEY = bytes.fromhex("af14e062539a2893c5b5c11dd2a71c78df30114e29f784aa03021641eeae5fb4")
# HL7 SMART Health Cards and Links 1.0.0, the example of the links page.
EXAMPLE = (
    "https://viewer.example.org#shlink:/eyJ1cmwiOiJodHRwczovL2Voci5leGFtcGxlLm9yZy9xci9ZOXh3a1Vk"
    "dG1OOXd3b0pvTjNmZkpJaFgyVUd2Q0wxSm5sUFZOTDNrRFdNL20iLCJmbGFnIjoiTFAiLCJrZXkiOiJyeFRnWWxP"
    "YUtKUEZ0Y0VkMHFjY2VOOHdFVTRwOTRTcUF3SVdRZTZ1WDdRIiwibGFiZWwiOiJCYWNrLXRvLXNjaG9vbCBpbW11"
    "bml6YXRpb25zIGZvciBPbGl2ZXIgQnJvd24ifQ"
)
DEMO = (
    "shlink:/eyJ1cmwiOiJodHRwczovL3Jhdy5naXRodWJ1c2VyY29udGVudC5jb20vc2Vhbm5vL3NoYy1kZW1vLWRh"
    "dGEvbWFpbi9pcHMvSVBTX0lHLWJ1bmRsZS0wMS1lbmMudHh0IiwiZmxhZyI6IkxVIiwia2V5IjoicnhUZ1lsT2FL"
    "SlBGdGNFZDBxY2NlTjh3RVU0cDk0U3FBd0lXUWU2dVg3USIsImxhYmVsIjoiRGVtbyBTSEwgZm9yIElQU19JRy1i"
    "dW5kbGUtMDEifQ"
)


@pytest.mark.parametrize(
    ("text", "url", "flag", "label"),
    [
        (
            EXAMPLE,
            "https://ehr.example.org/qr/Y9xwkUdtmN9wwoJoN3ffJIhX2UGvCL1JnlPVNL3kDWM/m",
            "LP",
            "Back-to-school immunizations for Oliver Brown",
        ),
        (
            DEMO,
            "https://raw.githubusercontent.com/seanno/shc-demo-data/main/ips/IPS_IG-bundle-01-enc.txt",
            "LU",
            "Demo SHL for IPS_IG-bundle-01",
        ),
    ],
)
def test_the_specifications_links_are_read(text: str, url: str, flag: str, label: str) -> None:
    assert read(text) == Link(url, KEY, flag, label)


@given(
    st.text(max_size=80),
    st.sampled_from(["", "L", "P", "LP", "U", "LU"]),
    st.none() | st.integers(1, 4_000_000_000),
    st.sampled_from(["", "https://example.org/view"]),
)
def test_what_was_written_is_read(label: str, flag: str, exp: int | None, viewer: str) -> None:
    expires = None if exp is None else datetime.fromtimestamp(exp, UTC)
    link = Link("https://twin.example.org/shl/x", KEY, flag, label, expires)
    assert read(link.spelled(viewer)) == link


def spelled(**changes: Any) -> str:
    payload = {"url": "https://a.example/x", "key": b64(KEY)} | changes
    return "shlink:/" + b64(orjson.dumps(payload))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not hold"),
        ("https://example.org", "does not hold"),
        ("shlink:/", "damaged"),
        ("shlink:/!!!!", "damaged"),
        ("shlink:/" + b64(b"[]"), "damaged"),
        ("shlink:/" + b64(b'{"url":"a","url":"b"}'), "damaged"),
        ("shlink:/" + b64(b"[" * 3000), "damaged"),
        ("shlink:/" + "A" * 5000, "does not hold"),
        (spelled(v=2), "newer kind"),
        (spelled(url="http://a.example/x"), "not encrypted"),
        (spelled(url="https://u:p@a.example/x"), "not encrypted"),
        (spelled(url="file:///etc/passwd"), "not encrypted"),
        (spelled(url="https://a.example/" + "x" * 128), "no address"),
        (spelled(url=None), "no address"),
        (spelled(key="AAAA"), "no key"),
        (spelled(key=5), "no key"),
    ],
)
def test_what_would_mislead_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(PortableError, match=sentence):
        read(text)


@pytest.mark.parametrize("exp", ["1767225600000", 1767225600000, True, -5, None, 1e300])
def test_an_odd_expiry_is_left_to_the_server(exp: Any) -> None:
    assert read(spelled(exp=exp)).expires is None


def test_unknown_flags_and_members_are_ignored() -> None:
    link = read(spelled(flag="XPL", _more=1))
    assert (link.flag, link.label) == ("LP", "")


@pytest.mark.parametrize(
    ("chosen", "flag"),
    [("", ""), ("l", "L"), ("p", "P"), ("lp", "LP"), ("u", "U"), ("lu", "LU")],
)
def test_flags_stand_in_the_order_of_the_alphabet(chosen: str, flag: str) -> None:
    wanted = {"long_term": "l" in chosen, "passcode": "p" in chosen, "single": "u" in chosen}
    assert flags(**wanted) == flag


def test_a_single_file_has_no_passcode() -> None:
    with pytest.raises(PortableError, match="leave one of them out"):
        flags(long_term=False, passcode=True, single=True)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    with pytest.raises(PortableError):
        read("shlink:/" + text)
