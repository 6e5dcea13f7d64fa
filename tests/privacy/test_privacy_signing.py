"""Signatures over exact bytes: published vectors, and nothing that was changed verifies."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from privacy.errors import KeyRefusedError, SignatureError
from privacy.signing import (
    SigningKey,
    VerificationKeys,
    b64,
    envelope,
    jwks,
    open_envelope,
    public_jwk,
    unb64,
    verify,
)

# RFC 8037, appendix A: key and thumbprint.
SEED = unb64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
KEYS = VerificationKeys(jwks([public_jwk(X)]))
# Made with this key; the same bytes are also verified by jwcrypto 1.6.1 and npm jose 6.
PAYLOAD = b'{"resourceType":"Bundle","type":"collection"}'
NEW_NAME = (
    "eyJhbGciOiJFZDI1NTE5IiwiYjY0IjpmYWxzZSwiY3JpdCI6WyJiNjQiXSwia2lkIjoia1ByS19xbXhWV2FZVkE5d3dCRjZJ"
    "dW8zdlZ6ejdUeEhDVHdYQnlnclM0ayJ9..YEphXRHK0xht6Z7OgrRsOwLRRO9-IBWA0sBS5KQtM0ntBdDy2hfKhxruELfM7L"
    "TlbJJ5UTkqqyqraECu1o-GCA"
)
OLD_NAME = (
    "eyJhbGciOiJFZERTQSIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il0sImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVv"
    "M3ZWeno3VHhIQ1R3WEJ5Z3JTNGsifQ..cpMwY4xW742LMSZtBij5iVmSqprYHwEPDBiO41x9bvnUzaJgd10l-VGxLWcSeb1r"
    "XkLdFL1KckVpdZJXvlcFBA"
)
DOCUMENT = b'{"twin":{"id":"kp6mMBNhPu-sjALzlegsdg"},"v":[1,2.5]}'
KEY = SigningKey(SEED)
FILE = envelope(DOCUMENT, {"jws": KEY.sign(DOCUMENT, {"ledger": {"seq": 1}})})


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    assert KEY.kid == THUMBPRINT
    assert KEY.public_jwk() == public_jwk(X)


def test_signatures_are_those_of_other_implementations() -> None:
    assert KEY.sign(PAYLOAD) == NEW_NAME
    assert verify(NEW_NAME, PAYLOAD, KEYS).kid == THUMBPRINT
    assert verify(OLD_NAME, PAYLOAD, KEYS).header["alg"] == "EdDSA"


def test_the_library_signs_unencoded_payloads_as_rfc_7797_does() -> None:
    """RFC 7797, section 4.2: what our detached form relies on."""
    key = OctKey.import_key(
        {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4h"
                            "cgUuTwjAzZr1Z9CAow"}
    )  # fmt: skip
    header = {"alg": "HS256", "b64": False, "crit": ["b64"]}
    made = jws.serialize_compact(header, b"$.02", key, algorithms=["HS256"])
    assert made.endswith("..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY")


def header_changed(**changes: object) -> str:
    header = {"alg": "Ed25519", "b64": False, "crit": ["b64"], "kid": THUMBPRINT, **changes}
    return b64(json.dumps(header).encode()) + "." + NEW_NAME.partition(".")[2]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (header_changed(alg="none"), "algorithm"),
        (header_changed(alg="HS256"), "algorithm"),
        (header_changed(b64=True), "b64=false"),
        (header_changed(crit=["b64", "exp"]), "crit"),
        (header_changed(crit=None), "crit"),
        (header_changed(kid="other"), "not in the key set"),
        (header_changed(kid=None), "not in the key set"),
        (header_changed(jwk=public_jwk(X)), "does not belong"),
        (NEW_NAME.replace("..", ".e30."), "not a detached JWS"),
        (NEW_NAME + "=", "canonical|base64url"),
        ("..", "not JSON"),
        ("", "not a detached JWS"),
        (NEW_NAME[:-1] + "B", "canonical"),  # the same bytes, spelled otherwise
    ],
)
def test_other_headers_and_spellings_are_refused(signature: str, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        verify(signature, PAYLOAD, KEYS)


def test_a_key_set_never_holds_a_private_key_or_a_false_name() -> None:
    with pytest.raises(KeyRefusedError, match="private"):
        VerificationKeys({"keys": [{**public_jwk(X), "d": "AA"}]})
    with pytest.raises(KeyRefusedError, match="thumbprint"):
        VerificationKeys({"keys": [{**public_jwk(X), "kid": "mine"}]})
    assert "d" not in KEY.public_jwk()
    assert "nWGxne" not in repr(KEY)


def test_rotated_keys_still_verify_and_unknown_ones_do_not() -> None:
    new = SigningKey.generate()
    both = VerificationKeys(jwks([new.public_jwk(), KEY.public_jwk()]))
    assert verify(NEW_NAME, PAYLOAD, both).kid == KEY.kid
    with pytest.raises(SignatureError, match="not in the key set"):
        verify(NEW_NAME, PAYLOAD, VerificationKeys(jwks([new.public_jwk()])))


@pytest.mark.parametrize("seed", [b"", b"short", bytes(32), b"a" * 32])
def test_a_seed_that_is_not_random_is_refused(seed: bytes) -> None:
    with pytest.raises(KeyRefusedError):
        SigningKey(seed)


def test_the_file_holds_the_exact_bytes() -> None:
    payload, proof = open_envelope(FILE)
    assert payload == DOCUMENT
    assert verify(proof["jws"], payload, KEYS).header["ledger"] == {"seq": 1}


def test_a_large_document_is_signed_and_verified() -> None:
    document = b'{"v":[' + b"1," * 500_000 + b"1]}"
    payload, proof = open_envelope(envelope(document, {"jws": KEY.sign(document)}))
    assert verify(proof["jws"], payload, KEYS)


def opens(file: bytes) -> bool:
    try:
        payload, proof = open_envelope(file)
        verify(proof["jws"], payload, KEYS)
    except SignatureError:
        return False
    return True


def test_every_single_byte_of_the_file_counts() -> None:
    assert opens(FILE)
    for position in range(len(FILE)):
        for change in (1, 0x20, 0x80):
            changed = bytearray(FILE)
            changed[position] ^= change
            assert not opens(bytes(changed)), position


@given(st.integers(0, len(FILE)), st.binary(max_size=4), st.integers(0, 4))
def test_nothing_can_be_put_in_or_taken_out(position: int, insert: bytes, cut: int) -> None:
    changed = FILE[:position] + insert + FILE[position + cut :]
    assert opens(changed) == (changed == FILE)


@pytest.mark.parametrize(
    "file",
    [b"", b"{}", FILE + b"\n", b" " + FILE, FILE + FILE, FILE[:-1] + b',"proof":{"jws":"x"}}',
     b'{"twin":{},"proof":{"jws":1}}', b'{"twin":{},"proof":{}}', b'{"twin":{},"proof":[]}',
     b'{"twin":{},"proof":{"jws":"a","jws":"a"}}', json.dumps(json.loads(FILE), indent=1).encode()],
)  # fmt: skip
def test_a_file_that_is_not_exactly_ours_is_refused(file: bytes) -> None:
    with pytest.raises(SignatureError):
        open_envelope(file)


@pytest.mark.parametrize("payload", [b"[]", b"", b'{"a":{},"proof":{}}'])
def test_a_document_that_could_be_mistaken_is_not_enveloped(payload: bytes) -> None:
    with pytest.raises(SignatureError):
        envelope(payload, {"jws": "x"})
    with pytest.raises(SignatureError):
        envelope(b"{}", {"jws": "x", "note": "unsigned"})


@pytest.mark.parametrize(
    ("told", "within"),
    [
        ("2025", False),
        ("2026", True),
        ("2027", True),
        ("2028", False),
        ("2026-03-01T09:00:00Z", False),
        ("2026-03-02T09:00:00Z", True),
        ("2027-01-02T23:59:59Z", True),
        ("2027-01-03T00:00:00Z", False),
        ("", True),
    ],
)
def test_whether_a_time_lies_in_the_life_of_a_key(told: str, within: bool) -> None:
    key = SigningKey.generate()
    ends = {"iat": 1_772_409_600, "exp": 1_798_848_000}  # 2026-03-02, 2027-01-02
    keys = VerificationKeys({"keys": [{**key.public_jwk(), **ends}]})
    assert keys.life(key.kid).holds(told) is within
    assert VerificationKeys({"keys": [key.public_jwk()]}).life(key.kid).holds(told)


@pytest.mark.parametrize("when", ["1772409600", -1, 1.5, True, 10**15])
def test_a_key_that_says_in_a_wrong_form_when_it_ended_is_refused(when: object) -> None:
    with pytest.raises(KeyRefusedError, match="wrong form"):
        VerificationKeys({"keys": [{**SigningKey.generate().public_jwk(), "exp": when}]})
