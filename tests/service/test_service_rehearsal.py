"""Before the first run, a process goes through the path once with a record of nobody."""

import pytest
from support.unrecorded import KEPT, rows

from service.pipeline.errors import NotConfigured
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service


@pytest.mark.usefixtures("home")
def test_the_models_have_been_run_and_nothing_is_kept() -> None:
    runtime = open_runtime()
    said = runtime.maker.rehearse(Wish(runtime.policy(), runtime.models(), "run"))
    answers = {one["model"]["id"]: one["answer"] for one in said}
    left = rows(runtime.database)
    runtime.close()
    assert {name for name, answer in answers.items() if answer == "given"} >= {"prevent", "fib4"}
    assert left == dict.fromkeys(KEPT, 0)


@pytest.mark.usefixtures("home")
def test_a_wrong_setting_is_told_to_who_asks_for_a_run_and_stops_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWINPORT_MODELS__SETTINGS__NO_SUCH", "x")
    runtime = open_runtime()
    with pytest.raises(NotConfigured):
        runtime.models()
    Service(runtime).rehearse()
    runtime.close()
