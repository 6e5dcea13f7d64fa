"""All of one resource type of one patient: the searches, what they brought, what is to be said."""

import time
from collections.abc import Callable, Set
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from service.fhir import kinds, outcome
from service.fhir.errors import (
    Cancelled,
    EndlessSearch,
    FhirError,
    Gone,
    Invalid,
    NotFound,
    NotSupported,
    Refused,
    Unprocessable,
)
from service.fhir.forms import read_form, search_form
from service.fhir.http import Answer, Resource
from service.fhir.kinds import Kind
from service.fhir.manners import NO_COUNT, Way
from service.fhir.packed import Shelf
from service.fhir.paging import Page, Params, read_pages
from service.fhir.pointing import targets
from service.fhir.record import SafetyEvent, Slice
from service.fhir.references import Rewriter
from service.fhir.scopes import Grant
from service.fhir.since import (
    COUNTED,
    CREATED,
    CREATED_COUNTED,
    UNCOUNTED,
    KeptType,
    Terms,
    changed_at,
    server_time,
)
from service.fhir.subjects import FOREIGN, verdict_on_subject
from service.fhir.versions import Key, key_of

if TYPE_CHECKING:
    from service.fhir.pull import Job

NOT_GRANTED = "not-granted"
NO_SINCE = "no-last-updated"
"""Learned of a type: this server refuses `_lastUpdated`, ignores it, or does not mean it."""
NO_CREATED = "no-created"
"""Learned of a type: nor does it heed the date by which what is new could be found."""
NO_COUNTING = "no-count"
"""Learned of a type: this server does not say how many there are."""
SPLIT = "split"
"""Learned of a type: this server wants it asked for category by category."""
_NOT_HERE = (Invalid, NotSupported, Unprocessable)
Ask = Callable[[str, Params], Answer]

LARGEST_PAGE = 1000
"""The most that any server here is known to give at once (vendor pages in the documentation)."""


class TypePull:
    """All of one type: the searches, what they brought, and what is to be said about it."""

    def __init__(self, job: "Job", kind: Kind) -> None:
        self._job, self._kind = job, kind
        self._client = job.client
        self._plain = Rewriter(job.client.server.bases)
        self._references = job.person.references
        self._shelf = Shelf(job.packer)
        self._withdrawn: dict[str, str] = {}
        self._targets: dict[str, tuple[str, ...]] = {}
        self._fresh: dict[str, Resource] | None = None  # of the page that is being taken
        self._astray: set[Key] = set()
        self._ignored_patient = False
        self._walked = 0
        self._on_page = 0
        self._told = False
        self._by_post = False
        self._earlier: set[str] = set()
        self._others: dict[str, str] = {}
        self._strangers: set[str] = set()
        self._gone: dict[str, str] = {}
        self._asked: datetime | None = None
        self._timed = True
        self._narrowed_by = ""
        self._unheeded = False
        self._full: datetime | None = None
        self.slice = Slice(kind.name)
        self.safety: list[SafetyEvent] = []

    # -- asking --------------------------------------------------------------------------------

    def run(self) -> None:
        if not self._job.capability.can(self._kind.name, "search-type"):
            self.slice.not_asked("not-supported")
            return
        for patient in self._job.spellings:
            self._ask_all(patient)

    def run_since(self, before: KeptType, terms: Terms) -> bool:
        """What has changed since, over what was kept. False: that is not to be relied on here, and
        all of it is to be asked for."""
        asked = ("_lastUpdated", before.since(terms))
        return self._run_narrowed(asked, NO_SINCE, before, terms, (UNCOUNTED, COUNTED))

    def run_created(self, before: KeptType, terms: Terms) -> bool:
        """What is new since, over what was kept. Corrections and withdrawals are not found."""
        name, days = self._created()
        asked = (name, before.created_since(days))
        return self._run_narrowed(asked, NO_CREATED, before, terms, (CREATED, CREATED_COUNTED))

    def tells_new(self) -> bool:
        """Whether the server lists a date by which what is new can be found."""
        return bool(self._created()[0])

    def _created(self) -> tuple[str, int]:
        listed = self._job.capability.of(self._kind.name).search_params
        return next((one for one in self._kind.created if one[0] in listed), ("", 0))

    def _run_narrowed(
        self,
        asked: tuple[str, str],
        memory: str,
        before: KeptType,
        terms: Terms,
        rests: tuple[str, str],
    ) -> bool:
        self._begin_with(before)
        self._narrowed_by = asked[0]
        for patient in self._job.spellings:
            refusal = self._ask_narrowed(patient, asked)
            if refusal is not None or self._unheeded:
                self._learn_about(memory, refusal)
                return False
        if not self.slice.whole:
            return False
        # By category nobody can count: one thing may be in two, and another in none.
        counted = None if self.slice.in_parts else self._count()
        here = self._shelf.count + len(self._others)
        if counted is not None and counted != here:
            return False  # something was deleted, or is on its way
        self.slice.matches, self.slice.server_total = here, counted
        self.slice.rests = rests[counted is not None]
        self.slice.full_days_ago = (terms.now - before.full).days
        return True

    def _ask_narrowed(self, patient: str, asked: tuple[str, str]) -> FhirError | None:
        """The error that shows that this cannot be asked here."""
        if not self._known_in_parts():
            return self._ask(patient, (asked,))
        refusal = self._ask_in_parts(patient, (asked,))
        return None if self.slice.whole or self._unheeded else refusal

    def _begin_with(self, before: KeptType) -> None:
        self._full = before.full
        self._others = dict(before.others)
        for resource in before.resources:
            self._keep(resource)
            self._earlier.add(resource["id"])

    def _learn_about(self, memory: str, refusal: FhirError | None) -> None:
        if self._unheeded or isinstance(refusal, _NOT_HERE):
            self._job.learned.add(f"{self._kind.name}:{memory}")

    def _count(self) -> int | None:
        """How many the server says there are; None where it does not count."""
        name = self._kind.name
        if f"{name}:{NO_COUNTING}" in self._job.learned:
            return None
        total = 0
        for patient in self._job.spellings:
            found = self._counted((("patient", patient), ("_summary", "count")))
            if found is None:
                self._job.learned.add(f"{name}:{NO_COUNTING}")
                return None
            total += found
        return total

    def _counted(self, params: Params) -> int | None:
        self.slice.asked.add(search_form(self._kind.name, params))
        try:
            answer = self._client.search(self._kind.name, params)
        except Cancelled:
            raise
        except FhirError:
            return None
        page = Page(answer.resource or {}, params, first=True)
        told = page.total is not None and not page.ignored() and not any(page.entries())
        return page.total if told else None

    def _ask_all(self, patient: str) -> None:
        if not self._known_in_parts():
            before = self.slice
            refusal = self._ask(patient, ())
            if not self._wants_split(refusal):
                return
            # A question put wrongly is no gap: the same is asked again below, in parts.
            self._job.learned.add(f"{self._kind.name}:{SPLIT}")
            before.queries -= 1
            before.refused -= 1
            before.reason = None
        self._ask_in_parts(patient, ())

    def _known_in_parts(self) -> bool:
        return f"{self._kind.name}:{SPLIT}" in self._job.learned

    def _ask_in_parts(self, patient: str, narrower: Params) -> FhirError | None:
        """Category by category; the last error. R4 wants no category of an Observation: one
        without, or with a local one, is never found."""
        assert self._kind.split is not None
        parameter, values = self._kind.split
        self.slice.in_parts = True
        last = None
        for value in values:
            refusal = self._ask(patient, ((parameter, value), *narrower))
            self.slice.declined += self._is_declined(value, refusal, bool(narrower))
            last = refusal or last
            if self._unheeded:
                break
        return last

    def _is_declined(self, value: str, refusal: FhirError | None, narrowed: bool) -> bool:
        """A category that this server does not know. One that it knew, when all was asked for, is
        not let pass now: what is new in it would be missed."""
        word = f"{self._kind.name}:declined:{value}"
        declined = isinstance(refusal, _NOT_HERE)
        if not narrowed:
            (self._job.learned.add if declined else self._job.learned.discard)(word)
        return declined and word in self._job.learned

    def _wants_split(self, refusal: FhirError | None) -> bool:
        return (
            isinstance(refusal, Invalid)
            and "required" in refusal.issues
            and self._kind.split is not None
            and self.slice.pages == 0
        )

    def _ask(self, patient: str, narrower: Params) -> FhirError | None:
        """One search to its last page; the error that ended it early, already accounted for."""
        size = self._client.server.page_size
        refusal, asked = self._search(patient, narrower, size)
        if refusal is None and self._may_hide_more(asked):
            # Exactly as many as asked for, and no link: either all, or a server without paging.
            # Where it limits what may be asked for, one less shows whether it pages.
            another = LARGEST_PAGE if asked == size else asked - 1
            refusal, asked = self._search(patient, narrower, another)
            if refusal is None and self._may_hide_more(asked):
                self.slice.cut("more-pages")
        return refusal

    def _search(self, patient: str, narrower: Params, count: int) -> tuple[FhirError | None, int]:
        """In the form this server is known to take, or one found on the way."""
        self.slice.queries += 1
        first = way = self._job.manners.way(self._kind.name)
        why: FhirError | None = None
        while True:
            params = self._params(patient, narrower, count, way)
            error = self._read(params, way)
            if error is None:
                self._job.manners.worked(self._kind.name, first, way, params)
                self.slice.finished += 1
                return None, way.count(count)
            why = why or error
            simpler = None if self._walked else self._job.manners.simpler(way, error, params)
            if simpler is None:
                self._account_for(error if self._walked else why)
                return why, way.count(count)
            way = simpler

    def _params(self, patient: str, narrower: Params, count: int, way: Way) -> Params:
        params: Params = (("patient", patient), *narrower)
        if way.include:
            listed = [v for v in self._kind.include if self._job.capability.can_include(v)]
            params += tuple(("_include", value) for value in listed)
        return params if way.largest == NO_COUNT else (*params, ("_count", str(way.count(count))))

    def _read(self, params: Params, way: Way) -> FhirError | None:
        self._walked = 0
        self._by_post = way.post
        client, name = self._client, self._kind.name
        ask = client.search_by_post if way.post else client.search
        self.slice.asked.add(search_form(name, params, post=way.post))
        try:
            read_pages(client, name, params, self._take, lambda: self._timed_answer(ask, params))
        except Cancelled:
            raise
        except FhirError as error:
            return error
        return None

    def _timed_answer(self, ask: Ask, params: Params) -> Answer:
        """The first page. The time at which it was asked for, by the server's clock, is that of its
        answer less how long it took."""
        start = time.monotonic()
        answer = ask(self._kind.name, params)
        took = timedelta(seconds=time.monotonic() - start)
        said = server_time(answer.headers)
        if said is None:
            self._timed = False
        else:
            asked = said - took
            self._asked = asked if self._asked is None else min(self._asked, asked)
        return answer

    def _may_hide_more(self, asked: int) -> bool:
        """A single page filled to the brim, and no total that says it was all."""
        full = asked > 0 and self._on_page in (asked, LARGEST_PAGE)
        return self._walked == 1 and full and not self._told

    def _account_for(self, error: FhirError) -> None:
        if isinstance(error, EndlessSearch):
            self.slice.cut(error.code)
        elif isinstance(error, NotFound | NotSupported):
            self.slice.refused += 1
            self.slice.not_asked("not-supported")
        else:
            self.slice.failed(error)

    # -- taking --------------------------------------------------------------------------------

    def _take(self, page: Page) -> bool:
        part = self.slice
        ignored = page.ignored()
        self._check_form_was_read(ignored)
        self._unheeded = self._unheeded or self._narrowed_by in ignored
        part.pages += 1
        self._walked += 1
        self._on_page = page.count_of(part.type)
        self._fresh = {}
        self._told = page.total is not None and page.total == self._on_page
        if page.total is not None and part.server_total is None:
            part.server_total = page.total
        self._note_ignored(ignored)
        new, plain = 0, bool(page.body) and self._plain.leaves(page.body)
        for entry in page.entries():
            new += self.take_entry(entry, plain=plain)
        self._job.hand_over(self._facts_of_page)
        self._fresh = None
        self._job.report(part)
        self._job.spend(new, f"GET {part.type}")
        return new > 0

    def _facts_of_page(self) -> dict[bytes, Resource]:
        fresh = self._fresh or {}
        return self._shelf.as_packed({i: r for i, r in fresh.items() if i not in self._withdrawn})

    def _check_form_was_read(self, ignored: Set[str]) -> None:
        """A server that does not read the body of a POST would send everybody's records."""
        if self._by_post and "patient" in ignored:
            raise Refused(f"POST {self._kind.name}/_search", next_step="Set `post_search = never`.")

    def _note_ignored(self, ignored: Set[str]) -> None:
        """The patient parameter ignored: the whole ward may come. Everything is filtered here."""
        if "patient" in ignored and not self._ignored_patient:
            self._ignored_patient = True
            self.safety.append(SafetyEvent("parameter-ignored", self._kind.name, 1))

    def take_entry(self, entry: Resource, *, plain: bool = False) -> bool:
        """One entry of an answer; whether it held anything new. `plain`: its references are."""
        resource = entry.get("resource")
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            return self._unusable("no-resource")
        if outcome.is_outcome(resource):
            self.slice.outcomes += 1
            if outcome.loses_content(resource):
                self.slice.lose("server-outcome")
            return False
        if not isinstance(resource.get("id"), str):
            return self._unusable("no-id")
        if not plain:
            self._plain(resource)
        if resource["resourceType"] != self._kind.name:
            return self._take_other(resource)
        self._replace_earlier(resource["id"])
        if not self._shelf.is_new(resource):
            self.slice.duplicates += 1
            return False
        self._take_resource(resource)
        return True

    def _replace_earlier(self, identity: str) -> None:
        """What comes now counts, whatever was kept of it."""
        self._others.pop(identity, None)
        if identity in self._earlier:
            self._earlier.discard(identity)
            self._shelf.forget(identity)
            self._withdrawn.pop(identity, None)
            self._targets.pop(identity, None)

    def _unusable(self, reason: str) -> bool:
        self.slice.dropped[reason] += 1
        self.slice.lose(reason)
        return False

    def _take_other(self, resource: Resource) -> bool:
        """What came along, and what has no business here."""
        key = key_of(resource)
        if key in self._astray:
            self.slice.duplicates += 1
            return False
        self._astray.add(key)
        if key[0] in kinds.CARRIED and key[0] != "Patient":
            self._job.carry(resource)
        else:
            self.slice.dropped["other-type"] += 1
        return True

    def _take_resource(self, resource: Resource) -> None:
        self.slice.matches += 1
        reason = verdict_on_subject(resource, self._kind, self._references)
        if reason is None:
            self._name_survivor(resource)
            self._keep(self._job.shape(resource))
        else:
            self._shelf.note(resource)
            self._drop_foreign(reason)

    def _keep(self, resource: Resource) -> None:
        """Only what is out of the usual is remembered beside it: most have neither."""
        try:
            newest = self._shelf.keep(resource)
        except ValueError:
            self._unusable("unreadable")
            return
        if newest:
            identity = resource["id"]
            if self._fresh is not None:
                self._fresh[identity] = resource
            _note(self._withdrawn, identity, kinds.withdrawn(resource))
            _note(self._targets, identity, targets(resource))

    def _name_survivor(self, resource: Resource) -> None:
        """What was filed under an earlier id of the same person is filed under the present one."""
        earlier = self._references[1:]
        for element in self._kind.subject if earlier else ():
            holder = resource.get(element)
            if isinstance(holder, dict) and holder.get("reference") in earlier:
                holder["reference"] = self._references[0]

    def _drop_foreign(self, reason: str) -> None:
        self.slice.dropped[reason] += 1
        if reason != FOREIGN or not self._ignored_patient:
            # Who mixes patients up may have left some of this one's out.
            self.slice.lose(reason)

    # -- what searches left out ----------------------------------------------------------------

    def met(self, identity: str) -> bool:
        """Whether it came, in whatever version, and whatever became of it."""
        return self._shelf.met(identity)

    def targets(self, kind: str) -> set[str]:
        """Ids of one type that what is a fact, in its newest version, points to."""
        prefix = f"{kind}/"
        return {
            text.removeprefix(prefix)
            for identity, found in self._targets.items()
            if identity not in self._withdrawn
            for text in found
            if text.startswith(prefix)
        }

    def take_read(self, identity: str, result: Resource | FhirError) -> None:
        """A resource that was read by its id, or why it could not be. One that is not there any
        more is gone, whatever still points to it."""
        self.slice.queries += 1
        self.slice.asked.add(read_form(self._kind.name))
        if isinstance(result, Gone):
            self._gone[identity] = "deleted"
            self.slice.finished += 1
            return
        if isinstance(result, NotFound):
            self._gone[identity] = kinds.gone_word(result.code)
        if isinstance(result, FhirError):
            self.slice.failed(result)
            return
        self.slice.finished += 1
        if result.get("resourceType") == self._kind.name:
            self._strangers.add(str(result.get("id")))
            self.take_entry({"resource": result})
        else:
            self._unusable("other-type")

    # -- the end -------------------------------------------------------------------------------

    def settle(self) -> None:
        """Once all is in: the newest version decides what a resource says."""
        if Grant.of(self._client.granted).lacks(self._kind.name):
            # A search without the scope may be answered as if there were nothing.
            self.slice.lose(NOT_GRANTED)
        self.slice.duplicates += self._shelf.superseded
        for identity, reason in self._withdrawn.items():
            self._shelf.drop(identity)
            self.slice.dropped[reason] += 1
        for reason in self._others.values():
            self.slice.dropped[reason] += 1
        foreign = self.slice.dropped[FOREIGN]
        if foreign:
            self.safety.append(SafetyEvent(FOREIGN, self._kind.name, foreign))

    def withdrawn(self) -> dict[str, str]:
        """`Type/id` of what came and is no fact → the twin's word for it. Said by the server
        itself, so it holds however incomplete the rest is."""
        kind = self._kind.name
        withdrawn = self._others | self._withdrawn
        gone = self._gone | {i: kinds.gone_word(why) for i, why in withdrawn.items()}
        return {f"{kind}/{i}": word for i, word in gone.items()}

    def packed(self) -> list[bytes]:
        """The facts."""
        return self._shelf.packed()

    # -- for the next time ---------------------------------------------------------------------

    def kept(self, now: datetime, trusted: bool) -> KeptType | None:
        """What the next pull may begin with; None where this one was not whole, the server told no
        time, or it sends what is not this patient's. What was read by its id is read again."""
        foreign = self.slice.dropped[FOREIGN]
        if not self.slice.whole or foreign or not self._timed or self._asked is None:
            return None
        return KeptType(
            asked=self._asked,
            full=self._full or now,
            resources=tuple(r for r in self._shelf.held() if r["id"] not in self._strangers),
            others=self._others | self._withdrawn,
            trusted=trusted,
        )

    def untold(self, before: KeptType, terms: Terms) -> int:
        """Changes that this full pull shows and `_lastUpdated` would not have told."""
        known = {r["id"]: r for r in before.resources}
        since = before.asked - terms.overlap
        return sum(
            1
            for resource in self._shelf.held()
            if resource["id"] not in self._strangers
            and known.get(resource["id"]) != resource
            and ((changed := changed_at(resource)) is None or changed < since)
        )


Value = TypeVar("Value")


def _note(notes: dict[str, Value], identity: str, value: Value | None) -> None:
    """What the newest version says counts; nothing noted is the usual."""
    if value:
        notes[identity] = value
    else:
        notes.pop(identity, None)
