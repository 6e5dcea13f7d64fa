"""The package: read by ordinary tools, complete, and changed nowhere without being noticed."""

import hashlib
import io
import random
import zipfile
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class
from portable_issued import Issued

from privacy.signing import SigningKey, VerificationKeys
from service.portable import archive, sphr
from service.portable.errors import PortableError

Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def parts(issued: Issued) -> Parts:
    with zipfile.ZipFile(issued.package) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_it_holds_what_is_needed_to_read_check_and_recompute(parts: Parts) -> None:
    assert {name for name in parts if not name.startswith("models/")} == {
        "record.phr",
        "twin.json",
        "ips.json",
        "ledger.jsonl",
        "keys.json",
        "README.txt",
        "manifest.json",
        "manifest.jws",
    }
    asked = {one["model"]["id"] for one in _document(parts)["assessments"]}
    assert asked
    assert {name for name in parts if name.startswith("models/")} == {
        f"models/{model}.json" for model in asked
    }


def _document(parts: Parts) -> dict[str, list[dict[str, dict[str, str]]]]:
    found: dict[str, list[dict[str, dict[str, str]]]] = orjson.loads(parts["twin.json"])["twin"]
    return found


def test_the_list_names_every_part_by_its_digest(parts: Parts) -> None:
    listed = orjson.loads(parts["manifest.json"])["parts"]
    assert {row["path"]: row["sha256"] for row in listed} == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in parts.items()
        if not name.startswith("manifest.")
    }


def test_the_record_is_a_personal_health_record(parts: Parts) -> None:
    """Lines of valid R4, the cover page first; every reference leads to a line of the record."""
    lines = [orjson.loads(line) for line in parts["record.phr"].splitlines()]
    assert [line["resourceType"] for line in lines[:2]] == ["Composition", "Patient"]
    for line in lines:
        get_fhir_model_class(line["resourceType"]).model_validate(line)
    held = {f"{line['resourceType']}/{line['id']}" for line in lines}
    assert len(held) == len(lines)
    assert set(_references(lines)) <= held


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []


def test_each_file_beside_the_record_is_named_by_it(parts: Parts) -> None:
    lines = [orjson.loads(line) for line in parts["record.phr"].splitlines()]
    named = [
        line["content"][0]["attachment"]
        for line in lines
        if line["resourceType"] == "DocumentReference" and "url" in line["content"][0]["attachment"]
    ]
    beside = {n for n in parts if n != "record.phr" and not n.startswith("manifest.")}
    assert {one["url"] for one in named} == beside
    assert all(len(parts[one["url"]]) == one["size"] for one in named)


def test_it_is_the_same_every_time(
    issued: Issued, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = tmp_path_factory.mktemp("again")
    assert issued.shell("export", "--twin", issued.twin, "--to", "sphr", "--out", again).code == 0
    assert (again / "record.sphr").read_bytes() == issued.package.read_bytes()


def test_it_opens_for_the_issuers_keys_alone(issued: Issued) -> None:
    data = issued.package.read_bytes()
    package = sphr.open_package(data, issued.trusted())
    assert package.twin.id == issued.twin
    stranger = VerificationKeys({"keys": [SigningKey.generate().public_jwk()]})
    with pytest.raises(PortableError, match="not verified"):
        sphr.open_package(data, stranger)


# -- changed -------------------------------------------------------------------------------------


def without(name: str) -> Callable[[Parts], None]:
    return lambda parts: parts.pop(name) and None


def put(name: str, content: bytes) -> Callable[[Parts], None]:
    return lambda parts: parts.update({name: content})


def swapped(one: str, other: str) -> Callable[[Parts], None]:
    return lambda parts: parts.update({one: parts[other], other: parts[one]})


def relisted(parts: Parts) -> None:
    """Another part, and a list that is right about it: only the signature tells."""
    parts["README.txt"] += b"."
    listed = orjson.loads(parts["manifest.json"])
    for row in listed["parts"]:
        if row["path"] == "README.txt":
            row["size"] += 1
            row["sha256"] = hashlib.sha256(parts["README.txt"]).hexdigest()
    parts["manifest.json"] = orjson.dumps(listed)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("twin.json"), "twin is missing"),
        (without("manifest.jws"), "signature or twin is missing"),
        (without("ips.json"), "a part is missing"),
        (put("more.txt", b"x"), "did not list"),
        (put("ips.json", b"{}"), "ips.json is not what its issuer listed"),
        (swapped("ips.json", "record.phr"), "is not what its issuer listed"),
        (put("manifest.jws", b"a..b"), "not verified"),
        (put("manifest.json", b"{}"), "not verified"),
        (relisted, "not verified"),
    ],
)
def test_what_was_changed_is_named(
    issued: Issued, parts: Parts, change: Callable[[Parts], None], sentence: str
) -> None:
    changed = dict(parts)
    change(changed)
    with pytest.raises(PortableError, match=sentence):
        sphr.open_package(archive.pack(changed.items()), issued.trusted())


def test_a_signature_over_something_else_is_none_over_a_list(issued: Issued, parts: Parts) -> None:
    """A ledger entry's signature is by the same key."""
    key = SigningKey.generate()
    forged = dict(parts) | {"manifest.jws": key.sign(parts["manifest.json"]).encode()}
    keys = VerificationKeys({"keys": [key.public_jwk()]})
    with pytest.raises(PortableError, match="made for something else"):
        sphr.open_package(archive.pack(forged.items()), keys)


def mutations(data: bytes, count: int, seed: int) -> list[bytes]:
    dice = random.Random(seed)
    places = [dice.randrange(len(data)) for _ in range(count)]
    return [
        data[:at] + bytes([data[at] ^ dice.randrange(1, 256)]) + data[at + 1 :] for at in places
    ]


def undetected(issued: Issued, count: int) -> int:
    """A byte of the zip's own book-keeping (a time, an attribute) may change without changing any
    part: then everything in it is still exactly what was signed."""
    data, keys = issued.package.read_bytes(), issued.trusted()
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        whole = {name: opened.read(name) for name in opened.namelist()}
    missed = 0
    for changed in mutations(data, count, 1):
        try:
            package = sphr.open_package(changed, keys)
        except PortableError:
            continue
        missed += {**package.parts} != {n: c for n, c in whole.items() if "manifest" not in n}
    return missed


def test_a_changed_byte_never_passes(issued: Issued) -> None:
    assert undetected(issued, 100) == 0


@pytest.mark.slow
def test_ten_thousand_changed_bytes_never_pass(issued: Issued) -> None:
    assert undetected(issued, 10_000) == 0


# -- from the shell ------------------------------------------------------------------------------


def test_verify_and_recompute_take_the_package(issued: Issued) -> None:
    said = issued.shell("verify", issued.package, "--keys", issued.keys, "--json").json
    assert said["verified"]
    assert said["parts"] > 6
    assert issued.shell("recompute", issued.package, "--keys", issued.keys).code == 0


def test_an_export_can_be_locked_and_opened(
    issued: Issued, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("locked")
    secret = place / "secret"
    secret.write_text("a long enough secret\n")
    made = issued.shell(
        "export", "--twin", issued.twin, "--to", "twin", "--out", place, "--passphrase-file", secret
    )
    assert made.code == 0, made.err
    opened = ("unlock", place / "twin.json.jwe", "--out", place / "twin.json")
    assert issued.shell(*opened, "--passphrase-file", secret).code == 0
    assert issued.shell("verify", place / "twin.json").code == 0
    secret.write_text("another secret, as long\n")
    wrong = issued.shell(*opened, "--passphrase-file", secret)
    assert wrong.code == 7
    assert wrong.error == "the passphrase does not open it, or the file was changed"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--to", "sphr", "--new-passphrase", "--passphrase"), "choose one"),
        (("--to", "sphr", "--dated"), "--dated belongs to --to ips"),
    ],
)
def test_options_that_do_not_go_together(
    issued: Issued, arguments: tuple[str, ...], sentence: str
) -> None:
    ran = issued.shell("export", "--twin", issued.twin, "--out", issued.package.parent, *arguments)
    assert ran.code == 2
    assert sentence in ran.error


# -- keys that were renewed, answers that grow old -------------------------------------------------


def verified(issued: Issued, *more: object) -> dict[str, Any]:
    ran = issued.shell("verify", issued.package, "--json", *more)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json
    return found


def test_it_is_said_when_each_answer_ends(issued: Issued) -> None:
    fresh = {one["model"]: one["daysLeft"] for one in verified(issued)["expires"]}
    later = {one["model"]: one["daysLeft"] for one in verified(issued, "--days", 400)["expires"]}
    assert fresh
    assert later == {model: left - 400 for model, left in fresh.items()}
    told = issued.shell("verify", issued.package, "--days", 40_000).out
    assert "expires     prevent: past, " in told


def test_an_entry_of_a_time_at_which_its_key_did_not_sign_is_refused(issued: Issued) -> None:
    (key,) = orjson.loads(issued.keys.read_bytes())["keys"]
    for ends in ({"iat": 0, "exp": 86_400}, {"iat": 4_000_000_000}):
        trusted = VerificationKeys({"keys": [{**key, **ends}]})
        with pytest.raises(PortableError, match=r"ledger\.jsonl has an entry of a time"):
            sphr.open_package(issued.package.read_bytes(), trusted)


def test_what_a_renewed_key_signed_stays_verified_and_is_said_to_be_of_it(issued: Issued) -> None:
    before = verified(issued)
    assert "keySince" in before
    assert "keyRetired" not in before
    assert issued.shell("keys", "rotate", "signing").code == 0
    after = verified(issued)
    assert after["signedBy"] == before["signedBy"]
    assert after["keyRetired"] >= after["keySince"]
    assert "stays verified" in issued.shell("verify", issued.package).out
    # Packed anew: the list by the new key, twin and ledger as they were signed.
    folder = issued.package.parent / "again"
    made = issued.shell("export", "--twin", issued.twin, "--to", "sphr", "--out", folder)
    assert made.code == 0, made.err
    assert issued.shell("verify", folder / "record.sphr").code == 0
    # Who knows the old key alone is told that the new one is none of those they trust.
    old = issued.shell("verify", folder / "record.sphr", "--keys", issued.keys)
    assert old.code != 0
    assert "not in the key set" in old.err
