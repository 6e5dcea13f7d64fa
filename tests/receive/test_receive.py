"""What comes from elsewhere is verified, kept apart, and changes nothing of ours."""

from pathlib import Path

import pytest
from receive_places import ME, Place, place, reading

from privacy.signing import SigningKey, envelope, jwks
from service.receive.errors import NotTrustedError, ReceiveError
from twin_engine.models.assess import recompute


def test_nothing_is_taken_of_an_issuer_whom_nobody_named(a: Place, b: Place) -> None:
    made = b.twin()
    with pytest.raises(NotTrustedError, match="twinport trust add"):
        a.desk.receive(made.file, *ME)
    assert a.desk.held() == []


def test_a_key_is_pinned_by_the_thumbprint_that_its_issuer_tells(a: Place, b: Place) -> None:
    stranger, other = SigningKey.generate(), SigningKey.generate()
    keys = jwks([stranger.public_jwk(), other.public_jwk()])
    trust = b.desk.trust
    with pytest.raises(ReceiveError, match=f"say which keys.*{min(stranger.kid, other.kid)}"):
        trust.add("stranger", keys, [])
    with pytest.raises(ReceiveError, match="no key with this thumbprint"):
        trust.add("stranger", keys, [SigningKey.generate().kid])
    with pytest.raises(ReceiveError, match="no JWK set"):
        trust.add("stranger", [1], [stranger.kid])
    with pytest.raises(ReceiveError, match="name is"):
        trust.add("../Stranger", keys, [stranger.kid])
    assert trust.add("stranger", keys, [stranger.kid]) == [stranger.kid]
    with pytest.raises(ReceiveError, match="under another name"):
        trust.add("somebody", keys, [stranger.kid])
    assert other.kid not in {key.kid for key in trust.all()}
    assert trust.remove("stranger") == 1
    with pytest.raises(NotTrustedError):
        trust.issuer(stranger.kid)


def test_our_own_key_is_nobody_elses(a: Place) -> None:
    (own,) = a.runtime.jwks()["keys"]
    with pytest.raises(ReceiveError, match="key of this installation"):
        a.desk.trust.add("somebody", a.runtime.jwks(), [own["kid"]])


def test_a_package_is_kept_as_foreign_with_its_issuer_and_its_answers(a: Place, b: Place) -> None:
    first = a.twin()
    found = b.desk.receive(a.package(first), *ME)
    assert (found.new, found.issuer, found.follows) == (True, "clinic-a", None)
    held = b.desk.get(first.twin.id)
    assert (held.payload, held.proof) == (first.stored.payload, first.stored.proof)
    assert {one.outcome for one in recompute(found.twin.document)} == {"same"}
    again = b.desk.receive(first.file, *ME)
    assert not again.new, "a duplicate in another wrapping is recognised"
    second = a.twin(reading("bp-2", "8480-6", "2026-05-02", 138, "mm[Hg]"))
    assert second.twin.version == 2
    follows = b.desk.receive(second.file, *ME)
    assert (follows.new, follows.follows, follows.ours) == (True, 1, False)
    third = a.twin(reading("bp-2", "8480-6", "2026-05-02", 139, "mm[Hg]"))
    b.desk.receive(third.file, *ME)
    old = b.desk.receive(first.file, *ME)
    assert not old.new, "what is held is known, and stays what it was"


def test_an_older_version_never_comes_after_a_newer_one(a: Place, b: Place, tmp_path: Path) -> None:
    newest = b.desk.held()[-1]
    late = place(tmp_path / "late")
    late.trust("clinic-a", a)
    late.desk.receive(envelope(newest.payload, {"jws": newest.proof.decode()}), *ME)
    old = b.desk.get(newest.twin, 1)
    with pytest.raises(ReceiveError, match="an older one is not taken after it"):
        late.desk.receive(envelope(old.payload, {"jws": old.proof.decode()}), *ME)
    late.runtime.close()


def test_what_we_signed_ourselves_is_known_here(a: Place) -> None:
    made = a.twin()
    found = a.desk.receive(made.file, *ME)
    assert (found.new, found.ours, found.issuer) == (False, True, "this installation")


def test_an_encrypted_file_is_to_be_unlocked_first(b: Place) -> None:
    with pytest.raises(ReceiveError, match="twinport unlock"):
        b.desk.receive(b"eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA", *ME)
