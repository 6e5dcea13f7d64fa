"""Configuration: three sources, everything wrong with it said at once, no value told."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import Config, ConfigError, load_config
from service.config.table import markdown, rows

Env = dict[str, str]
DOCS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return {"TWINPORT_HOME": str(tmp_path / "home"), "PATH": "/bin"}


def _file(env: Env, text: str) -> None:
    home = Path(env["TWINPORT_HOME"])
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "twinport.toml").write_text(text, encoding="utf-8")


def _refused(env: Env) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_config(env)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_an_empty_home_needs_no_configuration(env: Env) -> None:
    config = load_config(env)
    home = Path(env["TWINPORT_HOME"])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert config.database_url == f"sqlite:///{home}/twinport.db"
    assert config.keys_dir == home / "keys"
    assert config.web.origin == "http://127.0.0.1:8080"
    assert config.web.secure_cookies is False


def test_the_environment_goes_before_the_file_and_the_file_before_defaults(env: Env) -> None:
    _file(env, '[web]\nport = 9000\nthreads = 4\n[project]\nname = "from-file"\n')
    config = load_config({**env, "TWINPORT_WEB__PORT": "9001"})
    assert (config.web.port, config.web.threads, config.web.workers) == (9001, 4, 1)
    assert config.project.name == "from-file"


def test_servers_come_from_both(env: Env) -> None:
    _file(env, '[servers.ehr]\nbase_url = "https://ehr.example/fhir"\n')
    config = load_config(
        {
            **env,
            "TWINPORT_SERVERS__EHR__AUTH__KIND": "bearer",
            "TWINPORT_SERVERS__EHR__AUTH__TOKEN": "secret-token",
            "TWINPORT_SERVERS__SANDBOX__BASE_URL": "http://127.0.0.1:9/fhir",
        }
    )
    assert config.servers["ehr"].auth.token == "secret-token"
    assert config.servers["sandbox"].probability_scale == "percent"
    assert "secret-token" not in repr(config)


def test_lists_from_the_environment_are_separated_by_commas(env: Env) -> None:
    config = load_config({**env, "TWINPORT_MODELS__DEFAULT": "prevent, ckd-epi"})
    assert config.models.default == ("prevent", "ckd-epi")


def test_a_configuration_cannot_be_changed(env: Env) -> None:
    with pytest.raises(AttributeError):
        load_config(env).web.port = 1  # type: ignore[misc]


def test_another_file_may_be_named_and_must_then_exist(env: Env, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[jobs]\nworkers = 7\n")
    assert load_config({**env, "TWINPORT_CONFIG": str(other)}).jobs.workers == 7
    other.unlink()
    assert "TWINPORT_CONFIG" in _refused({**env, "TWINPORT_CONFIG": str(other)})[str(other)]


# -- refusals ----------------------------------------------------------------------------------

SECRET = "s3cr3t-Mustermann"
ARCHIVE = "TWINPORT_SERVERS__E__DICOMWEB__"
WRONG: list[tuple[Env, str, str]] = [
    ({"TWINPORT_WEB__PROT": "80"}, "web.prot", "is not a setting"),
    ({"TWINPORT_NOTHING": "80"}, "nothing", "is not a setting"),
    ({"TWINPORT_WEB__PORT": SECRET}, "web.port", "Not a valid integer"),
    ({"TWINPORT_WEB__PORT": "70000"}, "web.port", "Must be greater"),
    ({"TWINPORT_WEB__PORT": "1.5"}, "web.port", "Not a valid integer"),
    ({"TWINPORT_WEB__DEBUG": SECRET}, "web.debug", "Not a valid boolean"),
    ({"TWINPORT_PROJECT__NAME": SECRET}, "project.name", "Use 1-40"),
    ({"TWINPORT_WEB__HOST": "0.0.0.0"}, "web.host", "set web.tls = proxy"),
    (
        {"TWINPORT_WEB__HOST": "0.0.0.0", "TWINPORT_WEB__TLS": "proxy", "TWINPORT_WEB__DEBUG": "1"},
        "web.debug",
        "this machine only",
    ),
    ({"TWINPORT_WEB__PUBLIC_URL": "http://twin.example"}, "web.public_url", "use https"),
    ({"TWINPORT_WEB__PUBLIC_URL": "https://t.example/x"}, "web.public_url", "has a path"),
    ({"TWINPORT_WEB__PUBLIC_URL": "ftp://t.example"}, "web.public_url", "http(s)"),
    ({"TWINPORT_WEB__PUBLIC_URL": "https://t.example:x"}, "web.public_url", "http(s)"),
    (
        {
            "TWINPORT_WEB__PUBLIC_URL": "https://t.example",
            "TWINPORT_WEB__COOKIE_SECURE": "no",
        },
        "web.cookie_secure",
        "in the clear",
    ),
    ({"TWINPORT_OAUTH__ISSUER": "http://idp.example"}, "oauth.issuer", "use https"),
    ({"TWINPORT_OAUTH__ISSUER": "https://idp.example"}, "oauth.audience", "is missing"),
    ({"TWINPORT_OAUTH__ISSUER": "https://idp.example"}, "oauth.jwks_url", "exactly one"),
    ({"TWINPORT_OAUTH__AUDIENCE": "twinport"}, "oauth.issuer", "is missing"),
    ({"TWINPORT_VAULT_KEY": "c2hvcnQ="}, "vault_key", "5 bytes where 32"),
    ({"TWINPORT_VAULT_KEY": SECRET}, "vault_key", "not base64"),
    (
        {"TWINPORT_VAULT_KEY": base64.b64encode(bytes(32)).decode()},
        "vault_key",
        "not random",
    ),
    ({"TWINPORT_DATABASE__URL": f"mysql://u:{SECRET}@h/d"}, "database.url", "not supported"),
    ({"TWINPORT_DATABASE__URL": "sqlite:///:memory:"}, "database.url", "forget"),
    (
        {"TWINPORT_SERVERS__E__BASE_URL": "http://ehr.example/fhir"},
        "servers.e.base_url",
        "plain http",
    ),
    (
        {"TWINPORT_SERVERS__E__BASE_URL": f"https://u:{SECRET}@ehr.example"},
        "servers.e.base_url",
        "user name or password",
    ),
    (
        {
            "TWINPORT_SERVERS__E__BASE_URL": "https://ehr.example/fhir",
            "TWINPORT_SERVERS__E__TRUSTED_ORIGINS": "https://ehr.example/elsewhere",
        },
        "servers.e.trusted_origins.0",
        "more than an origin",
    ),
    ({"TWINPORT_SERVERS__E__PERSONA": "epic"}, "servers.e.base_url", "Missing data"),
    (
        {"TWINPORT_SERVERS__E__BASE_URL": "https://e", "TWINPORT_SERVERS__E__AUTH__KIND": "basic"},
        "servers.e.auth.username",
        "is needed for basic",
    ),
    (
        {"TWINPORT_SERVERS__E__BASE_URL": "https://e", f"{ARCHIVE}BASE_URL": "http://pacs.example"},
        "servers.e.dicomweb.base_url",
        "plain http",
    ),
    (
        {
            "TWINPORT_SERVERS__E__BASE_URL": "https://e",
            f"{ARCHIVE}BASE_URL": "http://pacs.example",
            f"{ARCHIVE}ALLOW_PLAIN_HTTP": "yes",
            f"{ARCHIVE}AUTH__KIND": "bearer",
            f"{ARCHIVE}AUTH__TOKEN": SECRET,
        },
        "servers.e.dicomweb.auth",
        "in the clear",
    ),
    (
        {"TWINPORT_SERVERS__E__BASE_URL": "https://e", f"{ARCHIVE}AUTH__KIND": "basic"},
        "servers.e.dicomweb.auth",
        "an archive that is not named",
    ),
    (
        {
            "TWINPORT_SERVERS__E__BASE_URL": "https://e",
            f"{ARCHIVE}BASE_URL": "https://pacs.example/x?key=1",
            f"{ARCHIVE}AUTH__KIND": "smart-backend",
        },
        "servers.e.dicomweb.auth.token_url",
        "is missing",
    ),
    ({"TWINPORT_SERVICE_HOST": "10.0.0.1"}, "TWINPORT_SERVICE_HOST", "enableServiceLinks"),
    ({"TWINPORT_WEB": "x"}, "web", "Invalid input type"),
]


@pytest.mark.parametrize(("extra", "path", "reason"), WRONG)
def test_what_is_wrong_or_unsafe_refuses_and_says_why(
    env: Env, extra: Env, path: str, reason: str
) -> None:
    found = _refused({**env, **extra})
    assert reason in found[path]
    assert SECRET not in str(found)


def test_every_problem_is_told_with_where_it_came_from(env: Env) -> None:
    _file(env, '[web]\nport = "eighty"\n[surprise]\nx = 1\n')
    found = _refused({**env, "TWINPORT_JOBS__WORKERS": "-1"})
    assert set(found) == {"web.port", "surprise", "jobs.workers"}
    assert "twinport.toml" in found["web.port"]
    assert "TWINPORT_JOBS__WORKERS" in found["jobs.workers"]


@pytest.mark.parametrize("text", ['vault_key = "x"', 'home = "/tmp"'])
def test_some_things_do_not_belong_in_the_file(env: Env, text: str) -> None:
    _file(env, text)
    (path,) = _refused(env)
    assert path in text


@pytest.mark.parametrize("text", [f'x = "{SECRET}', f"{SECRET} = = 1", f"[{SECRET}"])
def test_a_broken_file_is_located_and_not_quoted(env: Env, text: str) -> None:
    _file(env, text)
    assert SECRET not in str(_refused(env))


def test_a_home_that_others_may_write_is_refused(env: Env) -> None:
    home = Path(env["TWINPORT_HOME"])
    home.mkdir()
    home.chmod(0o777)
    assert "chmod go-w" in _refused(env)["home"]


def test_a_home_that_cannot_be_made_is_refused(env: Env, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert "TWINPORT_HOME" in _refused(env)["home"]


def test_variables_of_the_test_suites_are_left_alone(env: Env) -> None:
    assert isinstance(load_config({**env, "TWINPORT_TEST_DATABASE_URL": "x"}), Config)


@given(text=st.text(max_size=40), row=st.sampled_from([r for r in rows() if "<" not in r.path]))
def test_no_text_in_any_setting_breaks_the_loader_or_is_echoed(
    tmp_path_factory: pytest.TempPathFactory, text: str, row: object
) -> None:
    variable = row.variable  # type: ignore[attr-defined]
    marked = f"Zq{text}qZ"
    home = tmp_path_factory.getbasetemp() / "property-home"
    told = ""
    try:
        load_config({"TWINPORT_HOME": str(home), variable: marked})
    except ConfigError as error:
        told = str(error)
    assert marked not in told


# -- documentation -----------------------------------------------------------------------------


def test_the_documented_table_is_current() -> None:
    begin, end = "<!-- settings: python -m service.config -->\n", "<!-- end of settings -->"
    shown = DOCS.read_text(encoding="utf-8").split(begin)[1].split(end)[0]
    assert shown.strip() == markdown().strip()


def test_every_setting_has_a_sentence_and_no_secret_a_default() -> None:
    for row in rows():
        assert row.text.endswith("."), row.path
        assert not (row.secret and row.default), row.path
