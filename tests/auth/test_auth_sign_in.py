"""API keys, one-time codes, browser sessions and the brake on guessing."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.databases import Clock
from support.threads import at_once

from service.auth import (
    ROLE_SCOPES,
    Access,
    AuthError,
    AuthErrorCode,
    Kind,
    Principal,
    Role,
    Scope,
)
from service.config import Config, Web
from service.stores import Database
from service.stores.tables import Base

TWIN, OTHER = "A" * 22, "B" * 22
KEY = bytes(range(100, 132))


@pytest.fixture
def access(database: Database, clock: Clock, tmp_path: Path) -> Access:
    config = replace(Config(home=tmp_path), web=Web(sign_in_attempts=5))
    return Access.build(config, database, KEY, clock)


def _code_of(access: Access, header: str | None, cookie: str | None = None) -> AuthErrorCode:
    with pytest.raises(AuthError) as caught:
        access.authenticate(header, cookie)
    return caught.value.code


# -- principals --------------------------------------------------------------------------------


def test_a_patient_sees_one_twin_and_nobody_else_is_bound() -> None:
    patient = Principal(Role.PATIENT, ROLE_SCOPES[Role.PATIENT], "s", Kind.SESSION, TWIN)
    patient.require_twin(TWIN, Scope.TWINS_READ)
    with pytest.raises(AuthError):
        patient.require_twin(OTHER, Scope.TWINS_READ)
    with pytest.raises(ValueError, match="one twin"):
        Principal(Role.PATIENT, frozenset(), "s", Kind.SESSION)
    with pytest.raises(ValueError, match="launched clinician"):
        Principal(Role.PRIVACY_OFFICER, frozenset(), "s", Kind.SESSION, TWIN)


def test_no_scope_beyond_the_role() -> None:
    with pytest.raises(ValueError, match="beyond"):
        Principal(Role.ADMIN, frozenset({Scope.TWINS_READ}), "s", Kind.API_KEY)


def test_who_may_see_twins() -> None:
    allowed = {role for role, scopes in ROLE_SCOPES.items() if Scope.TWINS_READ in scopes}
    assert allowed == {Role.EHR, Role.PATIENT}


# -- API keys ----------------------------------------------------------------------------------


def test_a_key_lets_in_with_its_scopes(access: Access) -> None:
    key = access.api_keys.issue(Role.EHR, label="ward-1", scopes=[Scope.RUNS_READ])
    principal = access.authenticate(f"Bearer {key.text}", None)
    assert (principal.role, principal.scopes) == (Role.EHR, {Scope.RUNS_READ})
    assert (principal.kind, principal.subject) == (Kind.API_KEY, f"key.{key.id}")
    with pytest.raises(AuthError, match="scope-missing"):
        principal.require(Scope.RUNS_WRITE)


def test_a_key_is_shown_once_and_kept_as_a_hash(access: Access, database: Database) -> None:
    key = access.api_keys.issue(Role.EHR, label="ward-1")
    secret = key.text.split("_", 2)[2]  # may hold more of them
    assert secret not in repr(key)
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            assert secret not in str(session.execute(table.select()).all())


@pytest.mark.parametrize("change", ["secret", "id", "short", "prefix", "empty"])
def test_a_changed_key_is_refused(access: Access, change: str) -> None:
    text = access.api_keys.issue(Role.EHR, label="ward-1").text
    flipped = "A" if text[-1] != "A" else "B"
    wrong = {
        "secret": text[:-10] + flipped * 10,
        "id": text[:4] + "0" * 16 + text[20:],
        "short": text[:-1],
        "prefix": "twq" + text[3:],
        "empty": "twp_",
    }[change]
    assert _code_of(access, f"Bearer {wrong}") is AuthErrorCode.INVALID


def test_revoked_and_expired_keys_are_refused(access: Access, clock: Clock) -> None:
    revoked = access.api_keys.issue(Role.EHR, label="a")
    assert access.api_keys.revoke(revoked.id)
    assert not access.api_keys.revoke(revoked.id)
    assert _code_of(access, f"Bearer {revoked.text}") is AuthErrorCode.INVALID
    short = access.api_keys.issue(Role.EHR, label="b", expires=clock.now + timedelta(days=1))
    access.authenticate(f"Bearer {short.text}", None)
    clock.forward(days=1)
    assert _code_of(access, f"Bearer {short.text}") is AuthErrorCode.EXPIRED


def test_the_day_of_use_is_kept_and_nothing_finer(access: Access, clock: Clock) -> None:
    key = access.api_keys.issue(Role.EHR, label="a")
    access.authenticate(f"Bearer {key.text}", None)
    (record,) = access.api_keys.list()
    assert record.last_used == clock.now.date()


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": Role.PATIENT},
        {"role": Role.PATIENT, "twin": "Patient/1"},
        {"role": Role.EHR, "twin": TWIN},
        {"role": Role.EHR, "label": "Dr. Erika Mustermann"},
        {"role": Role.EHR, "scopes": [Scope.KEYS_WRITE]},
        {"role": Role.EHR, "scopes": []},
    ],
)
def test_a_key_that_makes_no_sense_is_not_issued(access: Access, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        access.api_keys.issue(**{"label": "x", **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dTpw", "bearer\tx", "Bearer ü", "x"]
)
def test_headers_that_say_nothing_are_refused(access: Access, header: str) -> None:
    assert _code_of(access, header) in {AuthErrorCode.UNREADABLE, AuthErrorCode.INVALID}


def test_without_credentials_nobody_comes_in(access: Access) -> None:
    assert _code_of(access, None) is AuthErrorCode.MISSING
    assert _code_of(access, None, "") is AuthErrorCode.MISSING


# -- sign-in codes -----------------------------------------------------------------------------


def test_a_code_opens_one_session(access: Access) -> None:
    code = access.codes.issue(Role.PATIENT, twin=TWIN)
    session = access.sign_in(code, "192.0.2.1")
    assert (session.principal.role, session.principal.twin) == (Role.PATIENT, TWIN)
    assert access.authenticate(None, session.token) == session.principal
    with pytest.raises(AuthError, match="credentials-invalid"):
        access.sign_in(code, "192.0.2.1")


def test_eight_threads_with_one_code_open_exactly_one_session(access: Access) -> None:
    code = access.codes.issue(Role.PRIVACY_OFFICER)

    def use(_: int) -> bool:
        try:
            access.codes.use(code)
        except AuthError:
            return False
        return True

    assert sum(at_once(8, use)) == 1


def test_a_code_may_be_typed_by_a_person(access: Access) -> None:
    code = access.codes.issue(Role.ADMIN)
    typed = f"  {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert access.codes.use(typed).role == Role.ADMIN


def test_a_code_ends_by_itself(access: Access, clock: Clock) -> None:
    code = access.codes.issue(Role.EHR)
    clock.forward(minutes=15)
    with pytest.raises(AuthError):
        access.codes.use(code)


@pytest.mark.parametrize("text", ["", "x", "U" * 20, "A" * 19, "A" * 21, "🙂" * 20, "A" * 10_000])
def test_what_is_no_code_is_refused(access: Access, text: str) -> None:
    with pytest.raises(AuthError, match="credentials-invalid"):
        access.codes.use(text)


def test_a_patient_keeps_one_name_over_sessions_and_it_is_not_the_twin(access: Access) -> None:
    names = {
        access.codes.use(access.codes.issue(Role.PATIENT, twin=TWIN)).subject for _ in range(3)
    }
    assert len(names) == 1
    assert TWIN not in names.pop()


# -- sessions ----------------------------------------------------------------------------------


def _session_token(access: Access) -> str:
    return access.sign_in(access.codes.issue(Role.EHR), "192.0.2.1").token


def test_a_session_ends_when_idle(access: Access, clock: Clock) -> None:
    token = _session_token(access)
    for _ in range(3):
        clock.forward(minutes=29)
        access.authenticate(None, token)
    clock.forward(minutes=30)
    assert _code_of(access, None, token) is AuthErrorCode.EXPIRED


def test_a_session_ends_after_its_hours_however_busy(access: Access, clock: Clock) -> None:
    token = _session_token(access)
    for _ in range(31):
        clock.forward(minutes=15)
        access.authenticate(None, token)
    clock.forward(minutes=15)
    assert _code_of(access, None, token) is AuthErrorCode.EXPIRED


def test_a_session_that_was_closed_stays_closed(access: Access) -> None:
    token = _session_token(access)
    assert access.sessions.close(token)
    assert _code_of(access, None, token) is AuthErrorCode.EXPIRED
    assert not access.sessions.close(token)


def test_all_sessions_of_a_subject_can_be_closed(access: Access) -> None:
    codes = [access.codes.issue(Role.PATIENT, twin=TWIN) for _ in range(2)]
    sessions = [access.sign_in(code, "192.0.2.1") for code in codes]
    assert access.sessions.close_all(sessions[0].principal.subject) == 2
    for session in sessions:
        assert _code_of(access, None, session.token) is AuthErrorCode.EXPIRED


def test_a_form_token_belongs_to_its_session(access: Access) -> None:
    one, two = _session_token(access), _session_token(access)
    access.sessions.check_csrf(one, access.sessions.csrf(one))
    for wrong in (access.sessions.csrf(two), "", "ü", "\udcff", one):
        with pytest.raises(AuthError, match="csrf-mismatch"):
            access.sessions.check_csrf(one, wrong)


def test_a_new_session_key_ends_all_sessions_and_codes(
    access: Access, database: Database, clock: Clock, tmp_path: Path
) -> None:
    token, code = _session_token(access), access.codes.issue(Role.EHR)
    renewed = Access.build(Config(home=tmp_path), database, KEY[::-1], clock)
    assert _code_of(renewed, None, token) is AuthErrorCode.EXPIRED
    with pytest.raises(AuthError):
        renewed.codes.use(code)


def test_a_bad_header_is_not_saved_by_a_good_cookie(access: Access) -> None:
    token = _session_token(access)
    assert _code_of(access, "Bearer nonsense", token) is AuthErrorCode.INVALID


# -- the brake ---------------------------------------------------------------------------------


def test_after_so_many_attempts_even_the_right_code_waits(access: Access, clock: Clock) -> None:
    code = access.codes.issue(Role.EHR)
    for _ in range(5):
        with pytest.raises(AuthError, match="credentials-invalid"):
            access.sign_in("wrong", "192.0.2.1")
    with pytest.raises(AuthError) as caught:
        access.sign_in(code, "192.0.2.1")
    assert caught.value.code is AuthErrorCode.TOO_MANY
    assert caught.value.status == 429
    assert caught.value.retry_after is not None
    clock.forward(seconds=caught.value.retry_after)
    assert access.sign_in(access.codes.issue(Role.EHR), "192.0.2.1")


def test_fifty_parallel_guesses_are_not_more_than_allowed(access: Access) -> None:
    admitted, lock = [], threading.Lock()

    def guess(number: int) -> None:
        try:
            access.throttle.admit("192.0.2.1")
        except AuthError:
            return
        with lock:
            admitted.append(number)

    at_once(50, guess)
    assert len(admitted) == 5


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("nonsense", "other nonsense", True),
    ],
)
def test_who_shares_a_bucket(access: Access, one: str, two: str, shared: bool) -> None:
    for _ in range(5):
        access.throttle.admit(one)
    if shared:
        with pytest.raises(AuthError):
            access.throttle.admit(two)
    else:
        access.throttle.admit(two)


def test_no_address_is_stored(access: Access, database: Database) -> None:
    access.throttle.admit("192.0.2.77")
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            assert "192.0.2.77" not in str(session.execute(table.select()).all())


# -- who is who ------------------------------------------------------------------------------------


def test_a_named_person_is_the_same_in_every_session(access: Access) -> None:
    def subject(person: str | None) -> str:
        code = access.codes.issue(Role.PRIVACY_OFFICER, person=person)
        found = access.sign_in(code, "192.0.2.1").principal
        assert found.is_known is (person is not None)
        return found.subject

    assert subject("ada") == subject("ada") == "privacy-officer:ada"
    assert len({subject("bob"), subject(None), subject(None)}) == 3


@pytest.mark.parametrize("person", ["", "Ada", "Ada Lovelace", "a:b", "a" * 33])
def test_a_person_is_a_code(access: Access, person: str) -> None:
    with pytest.raises(ValueError, match="a code, not a name"):
        access.codes.issue(Role.PRIVACY_OFFICER, person=person)


def test_a_patient_is_known_by_the_twin_alone(access: Access) -> None:
    with pytest.raises(ValueError, match="leave the person out"):
        access.codes.issue(Role.PATIENT, twin=TWIN, person="ada")
