"""Take it along: the twin in every form, locked or not; and asking to be erased."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from flask import Response, request
from werkzeug.wrappers import Response as AnyResponse

from mappings.to_fhir.twin_bundle import ips_bundle
from service.pages import model_cards
from service.pages.own.frame import EXPORTS, PATIENT, desk, own, own_twin, page
from service.pages.printed import summary_pdf
from service.pages.speech import text
from service.patient.named import NoNameError
from service.portable import locked, sphr
from service.portable.errors import PortableError
from service.web.errors import Fault, WebError
from service.web.gate import principal
from service.web.services import services
from twin_engine.document import MEDIA_TYPE

FHIR = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a twin down."""

    file: str
    media_type: str
    content: Callable[[str], bytes]
    noted: str = "twin.download"


def _twin(twin: str) -> bytes:
    return services().runs.twin(twin)


def _summary(twin: str) -> bytes:
    runs = services().runs
    document, days = runs.document(twin), runs.days_since(runs.versions(twin)[0])
    return orjson.dumps(ips_bundle(document, model_cards.cards([document]), days_since=days))


def _package(twin: str) -> bytes:
    return desk().package(twin)


def _everything(twin: str) -> bytes:
    return desk().everything(twin)


def _paper(twin: str) -> bytes:
    runs = services().runs
    document, about = runs.document(twin), runs.versions(twin)[0]
    ends = runs.expiries(about, document)
    return summary_pdf(document, model_cards.cards([document]), about.digest, ends)


def _named(twin: str) -> bytes:
    return desk().named(twin)


FORMS: Mapping[str, Form] = {
    "twin": Form("twin.json", MEDIA_TYPE, _twin),
    "summary": Form("summary.json", FHIR, _summary),
    "named": Form("summary-with-name.json", FHIR, _named, "twin.download-named"),
    "package": Form("record.sphr", sphr.MEDIA_TYPE, _package),
    "paper": Form("summary.pdf", "application/pdf", _paper),
    "everything": Form("everything.zip", "application/zip", _everything),
}


@own.get("/take")
@PATIENT
def take() -> str:
    return _page("")


@own.post("/take")
@EXPORTS
def download() -> AnyResponse:
    form = FORMS.get(request.form.get("form", ""))
    if form is None:
        raise WebError("invalid", faults=[Fault("form", "is one of those offered")])
    try:
        content = form.content(own_twin())
        name, data, kind = _locked(form, content)
    except NoNameError as error:
        return Response(_page(text(f"take.{error}")), status=409, mimetype="text/html")
    except PortableError as error:
        return Response(_page(str(error)), status=409, mimetype="text/html")
    services().runs.note_use(principal(), form.noted, own_twin())
    answer = Response(data, content_type=kind)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _locked(form: Form, content: bytes) -> tuple[str, bytes, str]:
    """Name, content and type of what is handed out: as it is, or under a lock."""
    given = request.form
    if given.get("lock") == "words":
        sealed = locked.lock(content, given.get("passphrase", ""), form.media_type)
    elif given.get("lock") == "key":
        sealed = locked.address(content, locked.read_key(given.get("key", "")), form.media_type)
    else:
        return form.file, content, form.media_type
    return f"{form.file}.jwe", sealed.encode(), locked.MEDIA_TYPE


@own.post("/erasure")
@PATIENT
def ask_erasure() -> AnyResponse:
    """Somebody has to do it: destroying the way back is not undone."""
    if request.form.get("sure") != "yes":
        return Response(_page(text("take.not_sure")), status=409, mimetype="text/html")
    desk().ask_erasure(principal(), own_twin())
    return Response(_page("", asked=True), mimetype="text/html")


def _page(message: str, *, asked: bool = False) -> str:
    asked = asked or desk().erasure_asked(own_twin())
    return page(
        "take",
        forms=FORMS,
        message=message,
        suggestion=locked.new_passphrase(),
        shortest=locked.SHORTEST,
        asked=asked,
        links=sum(not one.ended for one in desk().links.links(own_twin())),
    )
