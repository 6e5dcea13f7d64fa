"""Files of health links: the specification's own examples, and what must be refused."""

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.signing import b64
from service.portable import jwe
from service.portable.errors import LockedError, PortableError

# Key and file of the specification's example: HL7 SMART Health Cards and Links 1.0.0.
KEY = bytes.fromhex("af14e062539a2893c5b5c11dd2a71c78df30114e29f784aa03021641eeae5fb4")
# Made with Python's cryptography from IV 00..0b and 01..0c; opened by kill-the-clipboard 1.1.0.
PLAIN = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiYXBwbGljYXRpb24vZmhpcitqc29uIn0.."
    "AAECAwQFBgcICQoL.EeVRLLojFe9wUaFr1HUeEFIb-7JrV26K8dFubk_hreGrLNTc9I3a4Wev-wMJ."
    "_SVMzspmYBPofV7xBWemEQ"
)
DEFLATED = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiYXBwbGljYXRpb24vZmhpcitqc29uIiwiemlw"
    "IjoiREVGIn0..AQIDBAUGBwgJCgsM.hrxpfTN_ZhJdn9iOdhm6qqfT2ETQXnRsF6rvyg_7IksUO_8h6RhLYNtL."
    "GtIbWCyOWPW8zZ3rBbo4Rg"
)
CONTENT = b'{"resourceType":"Bundle","type":"collection"}'
FHIR = "application/fhir+json"


@pytest.mark.parametrize("text", [PLAIN, DEFLATED])
def test_known_files_are_opened(text: str) -> None:
    assert jwe.unseal(text, KEY) == jwe.Opened(CONTENT, FHIR)


@given(st.binary(max_size=2000), st.booleans())
def test_what_was_sealed_comes_back(content: bytes, deflate: bool) -> None:
    key = jwe.new_key()
    text = jwe.seal(content, key, FHIR, deflate=deflate)
    assert jwe.unseal(text, key) == jwe.Opened(content, FHIR)


def test_each_sealing_has_an_iv_of_its_own() -> None:
    ivs = {jwe.seal(CONTENT, KEY, FHIR).split(".")[2] for _ in range(200)}
    assert len(ivs) == 200


def test_a_larger_file_than_libraries_inflate() -> None:
    content = b"0123456789" * 500_000
    assert jwe.unseal(jwe.seal(content, KEY, FHIR), KEY).content == content


@pytest.mark.parametrize("place", range(0, len(DEFLATED), 7))
def test_a_changed_character_is_noticed(place: int) -> None:
    other = "A" if DEFLATED[place] != "A" else "B"
    with pytest.raises(PortableError):
        jwe.unseal(DEFLATED[:place] + other + DEFLATED[place + 1 :], KEY)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(LockedError, match="the key does not open it"):
        jwe.unseal(PLAIN, os.urandom(32))


def header(text: str) -> str:
    return f"{b64(text.encode())}.{PLAIN.partition('.')[2]}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "five parts"),
        ("a.b.c", "five parts"),
        (header('{"alg":"dir"}'), "not supported"),
        (header('{"alg":"none","enc":"A256GCM"}'), "not supported"),
        (header('{"alg":"dir","enc":"A256CBC-HS512"}'), "not supported"),
        (header('{"alg":"dir","enc":"A256GCM","crit":["x"]}'), "not supported"),
        (header('{"alg":"dir","enc":"A256GCM","zip":"BR"}'), "not supported"),
        (header('{"alg":"none","alg":"dir","enc":"A256GCM"}'), "can't be read"),
        (header("[" * 2000), "can't be read"),
        (header("[]"), "can't be read"),
        (header('"' + "x" * 5000 + '"'), "five parts"),
        (PLAIN.replace("..", ".QUJD."), "expected form"),
        (PLAIN + "=", "damaged"),
    ],
)
def test_what_is_not_such_a_file_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(PortableError, match=sentence) as told:
        jwe.unseal(text, KEY)
    assert "\n" not in str(told.value)


def test_a_small_file_cannot_become_a_large_one() -> None:
    bomb = jwe.seal(bytes(1 << 20), KEY, FHIR)
    assert len(bomb) < 5000
    with pytest.raises(PortableError, match="larger than 0 MiB"):
        jwe.unseal(bomb, KEY, largest=1 << 19)


def test_deflate_that_stops_in_the_middle_is_refused() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    cut = (packer.compress(CONTENT * 9) + packer.flush())[:-4]
    sealed = jwe.encrypt(cut, KEY, {"alg": "dir", "enc": "A256GCM"})
    head = {"alg": "dir", "enc": "A256GCM", "zip": "DEF"}
    with pytest.raises(PortableError, match="not compressed as it says"):
        jwe._inflated(jwe.unseal(sealed, KEY).content, 1 << 20)
    assert jwe.read_header(jwe.encrypt(b"", KEY, head))["zip"] == "DEF"


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    with pytest.raises(PortableError):
        jwe.unseal(text, KEY)
