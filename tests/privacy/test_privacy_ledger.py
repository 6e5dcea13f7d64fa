"""The ledger: nobody can change, remove, re-order or cut it without being noticed."""

import itertools
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacy_support import MemoryLedgerStore

from privacy.errors import ConflictError, LedgerError, SignatureError
from privacy.ledger import (
    Head,
    append,
    canonical,
    closing_line,
    coarse_time,
    export,
    obligations,
    read_canonical,
    sha256,
    split,
    twin_entry,
    verify_ledger,
)
from privacy.policy import load_policy
from privacy.pseudonyms import new_pseudonym
from privacy.signing import SigningKey, VerificationKeys, jwks, no_duplicates

SIGNER = SigningKey.generate()
KEYS = VerificationKeys(jwks([SIGNER.public_jwk()]))
AT = datetime(2026, 11, 20, 10, 11, 12, tzinfo=UTC)
DOCUMENT = b'{"twin":{}}'


def entry(twin: str = "") -> dict[str, object]:
    return twin_entry(
        policy=load_policy("safe-harbor"),
        software="0.1.0",
        twin=twin or new_pseudonym(),
        document=DOCUMENT,
        counts={("Patient", "name", "drop"): 2, ("Observation", "status", "code"): 5},
        refusals={("Coverage", "type-out-of-scope"): 1},
        gate={"passed": True, "searched": 12, "hits": []},
        at=AT,
    )


def ledger(entries: int = 5) -> list[bytes]:
    store = MemoryLedgerStore()
    for _ in range(entries):
        append(store, SIGNER, entry())
    return list(export(store, SIGNER))


LINES = ledger()


def test_a_whole_ledger_verifies() -> None:
    report = verify_ledger(LINES, KEYS)
    assert report.ok
    assert (report.entries, report.first, report.last.seq, report.closed) == (5, 1, 5, True)
    assert verify_ledger(ledger(0), KEYS).ok


def test_an_entry_binds_what_was_done_to_the_document() -> None:
    made = json.loads(split(LINES[0])[0])
    assert made["document"] == sha256(DOCUMENT)
    assert made["policy"]["digest"] == load_policy("safe-harbor").digest
    assert made["counts"][1] == {"type": "Patient", "path": "name", "action": "drop", "n": 2}
    assert made["refusals"] == [{"type": "Coverage", "reason": "type-out-of-scope", "n": 1}]
    assert made["gate"]["passed"] is True


def test_time_is_as_coarse_as_the_policy_says() -> None:
    """The excerpt travels with the twin: an exact time and `now` would give every date back."""
    assert coarse_time(load_policy("safe-harbor"), AT) == "2026"
    assert b"11-20" not in LINES[0]


def test_every_single_byte_counts() -> None:
    line = LINES[2]
    for position in range(len(line)):
        changed = bytearray(line)
        changed[position] ^= 1
        report = verify_ledger([*LINES[:2], bytes(changed), *LINES[3:]], KEYS)
        assert not report.ok, position


@pytest.mark.parametrize("missing", range(6))
def test_a_removed_line_is_noticed(missing: int) -> None:
    assert not verify_ledger(LINES[:missing] + LINES[missing + 1 :], KEYS).ok


@pytest.mark.parametrize("cut", range(6))
def test_a_cut_tail_is_noticed(cut: int) -> None:
    assert not verify_ledger(LINES[:cut], KEYS).ok
    if cut < 5:
        assert not verify_ledger([*LINES[:cut], LINES[-1]], KEYS).ok


def test_any_other_order_is_noticed() -> None:
    for order in itertools.permutations(range(5)):
        lines = [*(LINES[i] for i in order), LINES[-1]]
        assert verify_ledger(lines, KEYS).ok == (order == tuple(range(5)))


def test_a_repeated_or_foreign_line_is_noticed() -> None:
    assert not verify_ledger([*LINES[:2], LINES[1], *LINES[2:]], KEYS).ok
    assert not verify_ledger([*LINES, LINES[0]], KEYS).ok
    assert not verify_ledger([*LINES[:2], ledger()[2], *LINES[3:]], KEYS).ok  # same number
    other = VerificationKeys(jwks([SigningKey.generate().public_jwk()]))
    assert len(verify_ledger(LINES, other).problems) >= 6


def test_an_older_closed_export_is_noticed_by_who_knows_a_later_head() -> None:
    older = [*LINES[:3], closing_line(Head(3, sha256(split(LINES[2])[0])), SIGNER)]
    assert verify_ledger(older, KEYS).ok
    known = Head(5, sha256(split(LINES[4])[0]))
    assert not verify_ledger(older, KEYS, at_least=known).ok
    assert verify_ledger(LINES, KEYS, at_least=known).ok


def test_an_excerpt_may_leave_out_but_not_re_order() -> None:
    assert verify_ledger([LINES[1], LINES[4]], KEYS, whole=False).ok
    assert not verify_ledger([LINES[1], LINES[4]], KEYS, whole=False).contiguous
    assert verify_ledger(LINES[1:4], KEYS, whole=False).contiguous
    assert not verify_ledger([LINES[4], LINES[1]], KEYS, whole=False).ok


def test_old_entries_verify_after_the_key_was_rotated() -> None:
    store, new = MemoryLedgerStore(), SigningKey.generate()
    append(store, SIGNER, entry())
    append(store, new, entry())
    lines = list(export(store, new))
    assert verify_ledger(lines, VerificationKeys(jwks([new.public_jwk(), SIGNER.public_jwk()]))).ok
    assert not verify_ledger(lines, VerificationKeys(jwks([new.public_jwk()]))).ok


def test_concurrent_appends_lose_and_double_nothing() -> None:
    store = MemoryLedgerStore()

    def write() -> None:
        made = entry()
        while True:
            try:
                append(store, SIGNER, made)
            except ConflictError:
                continue
            return

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_ledger(list(export(store, SIGNER)), KEYS)
    assert report.ok
    assert report.entries == 8


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}, {"ä": 1}, {"a": [object()]}, float("nan")])
def test_an_entry_holds_plain_values_only(value: object) -> None:
    with pytest.raises(LedgerError):
        canonical({"a": value} if not isinstance(value, dict) else value)


def test_the_chain_is_not_the_callers_to_choose() -> None:
    with pytest.raises(LedgerError, match="ledger's to give"):
        append(MemoryLedgerStore(), SIGNER, {"seq": 7})


def test_security_labels_of_the_sources_are_recorded_as_obligations() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    found = obligations({(system, "R"): 3, (system, "N"): 1})
    assert found == {
        "labels": [{"system": system, "code": "N", "n": 1}, {"system": system, "code": "R", "n": 3}]
    }
    assert obligations({}) == {}
    assert b'"code":"R"' in canonical({**entry(), **found})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    )
)
def test_the_quick_reader_takes_what_the_slow_one_takes(value: object) -> None:
    spellings = {
        json.dumps({"a": value}).encode(),
        json.dumps({"a": value}, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps({"a": value}, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        ),
    }
    for data in spellings:
        assert reads(read_canonical, data) == reads(slowly, data)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{"a":1.0}', b'{"a":1e3}', b'{"a": 1}', b'{"a":NaN}',
     b'{"a":"\\u0041"}', b'{"a":-0}', b"[1]", b"1", b'{"\xc3\xa4":1}', b'{"a":"\x7f"}'],
)  # fmt: skip
def test_spellings_that_look_alike(data: bytes) -> None:
    assert reads(read_canonical, data) == reads(slowly, data)


def slowly(data: bytes) -> object:
    entry = json.loads(data, object_pairs_hook=no_duplicates)
    if canonical(entry) != data:
        raise LedgerError("not canonical")
    return entry


def reads(reader: Callable[[bytes], object], data: bytes) -> object:
    try:
        return repr(reader(data))
    except (LedgerError, SignatureError, ValueError):
        return None
