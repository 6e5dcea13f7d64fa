"""What works with one server, what does not, and what to ask its operator for. In plain words.

Says nothing about any patient: types, counts and verdicts only.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from service.config.sections import ServerBulk
from service.dicomweb import read_patient
from service.dicomweb.checkup import check_archive
from service.fhir import r5
from service.fhir.capability import Capability, read_capability
from service.fhir.check_signin import check_sign_in
from service.fhir.errors import FhirError, Forbidden, SignInRefused
from service.fhir.findings import Finding, Level
from service.fhir.http import FhirClient
from service.fhir.kinds import KINDS

RESULTS = ("RiskAssessment", "Observation", "DocumentReference")


Keep = Callable[[str, set[str]], None]
"""Takes what was learned of a server, with the digest of its statement."""


def check_server(
    client: FhirClient, patient: str | None = None, keep: Keep | None = None
) -> list[Finding]:
    """Everything that can be found out without a patient; with one, also how complete they come,
    and how the server wants to be asked, found out anew."""
    found: list[Finding] = []
    try:
        for finding in _findings(client, patient, keep):
            found.append(finding)  # noqa: PERF402 - what came before an error is kept
    except FhirError as error:
        found += [Finding(Level.BROKEN, "server", str(error)), *_advice(error)]
    return found


def _findings(client: FhirClient, patient: str | None, keep: Keep | None) -> Iterator[Finding]:
    yield from check_sign_in(client)
    able = read_capability(client)
    yield from _statement(able)
    yield from _reading(able)
    yield from _exporting(able, client.server.bulk)
    yield from check_archive(client, able)
    yield from _announcing(able)
    yield from _writing(able, client.server.write_back)
    if patient is not None:
        yield from _record(client, patient, able, keep)


def _advice(error: FhirError) -> Iterator[Finding]:
    if isinstance(error, SignInRefused):
        text = (
            "Have the client id, the public key (`twinport server jwks`) and the scopes checked; "
            "with some vendors a new registration takes up to a day to arrive."
        )
        yield Finding(Level.ASK, "sign-in", text)
    if isinstance(error, Forbidden):
        text = "Ask for read access for this client to Patient and the types named in the guide."
        yield Finding(Level.ASK, "scopes", text)


# -- the statement ---------------------------------------------------------------------------------


def _statement(able: Capability) -> Iterator[Finding]:
    if not able.stated:
        text = "no usable CapabilityStatement: everything is tried, nothing is relied upon"
        yield Finding(Level.MISSING, "metadata", text)
        return
    version = able.fhir_version
    if version.startswith("4.") or not version:
        yield Finding(Level.WORKS, "version", f"FHIR {version or 'version not stated, read as R4'}")
    elif r5.is_r5(version):
        yield Finding(Level.WORKS, "version", f"FHIR {version}: R5, read in the shape of R4")
    else:
        yield Finding(Level.REFUSED, "version", f"FHIR {version} is not read by Twinport")
        yield Finding(Level.ASK, "version", "Ask for the base URL of its R4 endpoint.")


def _reading(able: Capability) -> Iterator[Finding]:
    offered = [name for name in KINDS if able.can(name, "search-type")]
    absent = [name for name in KINDS if name not in offered]
    if able.stated and offered:
        yield Finding(Level.WORKS, "search", ", ".join(offered))
    for name in absent:
        text = "not offered: a twin from here will say `unknown`, never `none found`"
        yield Finding(Level.MISSING, name, text)
    needs_reading = {"MedicationRequest", "MedicationStatement"} & set(offered)
    if needs_reading and not able.can("Medication", "read"):
        text = "can't be read: an order that only refers to a Medication says not what was ordered"
        yield Finding(Level.MISSING, "Medication", text)
    if able.everything:
        text = "offered; used where `everything = true` is set for this server"
        yield Finding(Level.WORKS, "$everything", text)


# -- whole populations -----------------------------------------------------------------------------


def _exporting(able: Capability, bulk: ServerBulk) -> Iterator[Finding]:
    if not able.stated:
        return
    if not able.exports:
        text = "no export is listed: whole populations can't be taken from here at once"
        yield Finding(Level.MISSING, "bulk export", text)
        return
    levels = ", ".join(sorted(able.exports))
    yield Finding(Level.WORKS, "bulk export", f"offered at level {levels}")
    if bulk.level not in able.exports:
        text = f"`bulk.level` is {bulk.level}: set it to one that is offered"
        yield Finding(Level.ASK, "bulk export", text)
    elif bulk.level == "group" and not bulk.group:
        text = "Ask its operator for the id of a Group, and set it as `bulk.group`."
        yield Finding(Level.ASK, "bulk export", text)


def _announcing(able: Capability) -> Iterator[Finding]:
    if not able.stated:
        return
    if "Subscription" not in able.types or not able.can("Subscription", "create"):
        text = "no subscriptions are listed: watched patients are looked at by time alone"
        yield Finding(Level.MISSING, "changes", text)
        return
    text = 'subscriptions are listed: set `subscriptions = "auto"` to hear of changes'
    yield Finding(Level.WORKS, "changes", text)


# -- writing ---------------------------------------------------------------------------------------


def _writing(able: Capability, wanted: bool) -> Iterator[Finding]:
    if not wanted:
        yield Finding(Level.WORKS, "write-back", "switched off in the configuration")
        return
    if not able.stated:
        yield Finding(Level.MISSING, "write-back", "not known before it is tried")
        return
    takes = [name for name in RESULTS if able.can(name, "create")]
    if "RiskAssessment" in takes:
        yield Finding(Level.WORKS, "write-back", f"RiskAssessment, by {_strategy(able)}")
        yield from _companions(able)
        return
    yield Finding(Level.REFUSED, "write-back", "this server takes no RiskAssessment")
    other = [name for name in takes if name != "RiskAssessment"]
    text = "Results stay in Twinport (own FHIR endpoint, files)"
    if other:
        text += f"; it takes {' and '.join(other)}, ask which of these may carry a score"
    yield Finding(Level.ASK, "write-back", f"{text}.")


def _strategy(able: Capability) -> str:
    row = able.of("RiskAssessment")
    if able.transaction:
        return "transaction"
    if row.update_create:
        return "an id of our own"
    return "conditional create" if row.conditional_create else "search, then create"


def _companions(able: Capability) -> Iterator[Finding]:
    for name in ("Device", "Provenance"):
        if not able.can(name, "create"):
            yield Finding(Level.MISSING, name, "not taken: results are written without it")
    listed = able.of("RiskAssessment").search_params
    if listed and "identifier" not in listed and not able.of("RiskAssessment").update_create:
        text = (
            "RiskAssessment can't be searched by identifier: after a broken connection nobody can "
            "look whether the result arrived. Ask for that search parameter."
        )
        yield Finding(Level.ASK, "write-back", text)


# -- one record ------------------------------------------------------------------------------------


def _record(
    client: FhirClient, patient: str, able: Capability, keep: Keep | None
) -> Iterator[Finding]:
    learned: set[str] = set()
    record = read_patient(client, patient, capability=able, learned=learned)
    if keep is not None:
        keep(able.digest, learned)
    for row in record.completeness["slices"]:
        if row["type"] not in KINDS or able.can(row["type"], "search-type"):
            yield _slice(row)
    reasons = {row.get("reason") for row in record.completeness["slices"]}
    if reasons & {"forbidden", "sign-in-refused"}:
        refused = [
            row["type"]
            for row in record.completeness["slices"]
            if row.get("reason") in ("forbidden", "sign-in-refused")
        ]
        yield Finding(Level.ASK, "scopes", f"Ask for read and search of {', '.join(refused)}.")
    if "foreign-origin" in reasons:
        text = "Its links lead to another host: have its public base URL corrected, or list that"
        yield Finding(Level.ASK, "links", f"{text} origin in `trusted_origins`.")
    for event in record.safety:
        text = f"{event.kind} ({event.count}): report this to the operator of the server"
        yield Finding(Level.ASK, event.type, text)
    for text in meanings(learned):
        yield Finding(Level.WORKS, "manners", text)


def meanings(words: Iterable[str]) -> list[str]:
    """What was learned of a server, in sentences."""
    found = [_meaning(word) for word in sorted(words)]
    return [text for text in found if text]


def _meaning(word: str) -> str:
    kind, _, what = word.partition(":")
    if what == "no-include":
        return f"it does not take `_include` with {kind}"
    if kind == "bulk":
        return _order(what.split(":"))
    return _MEANING.get(word, "")


def _order(words: list[str]) -> str:
    """The form in which it takes an order for an export."""
    left_out = [_LEFT_OUT[word] for word in words[1:] if word in _LEFT_OUT]
    without = f", without {' and '.join(left_out)}" if left_out else ""
    return f"it takes orders for an export by {words[0].upper()}{without}"


_LEFT_OUT = {"no-types": "`_type`", "no-partial": "`allowPartialManifests`"}
_MEANING = {
    "patient:bare-id": "it finds a patient by `id`, not by `Patient/id`",
    "post": "it wants searches by POST",
    "count:100": "it gives at most 100 resources a page",
    "count:none": "it does not take `_count`",
    "Observation:split": "it wants Observations asked for by category",
    "no-everything": "what it gives for `$everything` is not used",
}


def _slice(row: dict[str, Any]) -> Finding:
    counts = f"{row['matches']} found in {row['pages']} pages"
    if row["verdict"] == "complete":
        return Finding(Level.WORKS, row["type"], f"complete: {counts}")
    why = row.get("reason", "not-asked")
    refused = f", {row['refused']} of {row['queries']} queries refused" if row["refused"] else ""
    level = Level.MISSING if row["verdict"] == "unknown" else Level.REFUSED
    return Finding(level, row["type"], f"{row['verdict']} ({why}): {counts}{refused}")
