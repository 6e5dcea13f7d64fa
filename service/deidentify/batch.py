"""One run over any number of patients: their sessions, their pseudonyms, and what was done."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, partial
from importlib.metadata import version
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple, Self

import orjson

from mappings import vocabulary
from privacy import ledger
from privacy.deidentify import Count, Refused, Session
from privacy.elements import BASES, elements_of
from privacy.forms import Apart, Form, Group, Values
from privacy.gate import Searcher
from privacy.lines import Lines
from privacy.policy import Policy
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.render import OUR_ADDRESSES, Renderer, addresses, fhir_id
from privacy.subject import SubjectContext, draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.deidentify.people import Owners, People
from service.deidentify.reading import read_line
from service.deidentify.withheld import Withheld
from service.pipeline.guards import deidentifier_of

Resource = dict[str, Any]

SOFTWARE = version("twinport")
FILES = "/files"  # ends the project of sealed records that belong to files, not to twins
NOBODY = ""  # owns what names no patient
OPEN = 512  # patients whose sessions are held; the one not needed for longest is sealed away
# Resources that several patients may share: one pseudonym in the whole batch.
SHARED = frozenset({"Medication", "Endpoint", "Device"})


@dataclass(slots=True)
class Tally:
    """What was done to how many resources. No value."""

    read: int = 0
    written: Counter[str] = field(default_factory=Counter)
    counts: Counter[Count] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    people: list[str] = field(default_factory=list)  # ids of their Patient resources in the output

    @property
    def patients(self) -> int:
        return len(self.people)

    def take(self, session: Session) -> None:
        self.counts += session.counts
        self.refusals += session.refusals
        self.labels += session.labels

    def as_report(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "written": dict(sorted(self.written.items())),
            "patients": self.patients,
            "refusals": [
                {"type": kind, "reason": reason, "n": n}
                for (kind, reason), n in sorted(self.refusals.items())
            ],
            "counts": [
                {"type": kind, "path": path, "action": action, "n": n}
                for (kind, path, action), n in sorted(self.counts.items())
            ],
        }


class Given(NamedTuple):
    """A resource without identity, or its entry of a Bundle, as it was searched."""

    name: str  # its pseudonym
    type: str
    data: bytes


@dataclass(slots=True, repr=False, eq=False)
class _Open:
    """A patient at work."""

    session: Session
    record: SubjectRecord
    known: int | None  # pseudonyms sealed already: with no new one there is nothing to save
    search: Searcher
    given: set[str]  # pseudonyms that may stand in what this session made
    renderer: Renderer  # of those that are made together


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Pseudonyms:
    """Those that one session gives, and which it has given."""

    own: Pseudonyms
    shared: Pseudonyms
    given: set[str]

    def __call__(self, kind: str, identity: str) -> str:
        found = (self.shared if kind in SHARED else self.own)(kind, identity)
        self.given.add(found)
        return found

    def many(self, kind: str, ids: Iterable[str]) -> list[str]:
        found = (self.shared if kind in SHARED else self.own).many(kind, ids)
        self.given.update(found)
        return found


_TYPE, _DATA = map(itemgetter, map(Given._fields.index, ("type", "data")))


class _Kept(NamedTuple):
    """What is known of resources that were not refused: of several of one patient and one form, or
    of one that has none."""

    work: _Open
    type: str
    form: Form | None
    places: list[int]  # among what was asked
    names: list[str]  # their pseudonyms
    own: list[Any]  # what each has of its own; without a form, its record

    def without(self, out: set[int]) -> Self:
        stay = [at for at, place in enumerate(self.places) if place not in out]
        if len(stay) == len(self.places):
            return self
        return self._replace(
            places=[self.places[at] for at in stay],
            names=[self.names[at] for at in stay],
            own=[self.own[at] for at in stay],
        )


Asked = Sequence[Any]  # resources, in the order in which they are given back
Portion = dict[int, Given]  # what was made, by the places of what was asked
# Without the step of Python that calling its class takes.
_given: Callable[[tuple[str, str, bytes]], Given] = partial(tuple.__new__, Given)


def _line_of(resource: Any) -> bytes | None:
    """None of one that was parsed before."""
    if type(resource) is Apart:
        return resource.line
    return resource if type(resource) is bytes else None


@cache
def lines_of(policy_id: str) -> Lines:
    """Learned once per process and policy."""
    return Lines()


class Batch:
    """De-identifies resources, any number at a time. For one thread.

    Nothing of it is in the vault before `close`, which belongs into the transaction of the entry:
    then all of it is.
    """

    def __init__(
        self,
        policy: Policy,
        vault: Vault,
        people: People,
        *,
        project: str,
        today: date,
        keep_open: int = OPEN,
    ) -> None:
        self.policy, self.tally = policy, Tally()
        self._deidentifier, self._lines = deidentifier_of(policy.id), lines_of(policy.id)
        self._sealed, self._people, self._today = Withheld(vault), people, today
        self._project = f"{project}/{policy.id}{FILES}"
        self._shared, self._keep_open = Pseudonyms(), keep_open
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._people_seen: set[str] = set()
        self._owners = Owners()
        self._latest: tuple[Any, _Open] | None = None  # what named the patient of a line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sealed.close()

    def apply(self, resources: Iterable[Any], *, bundled: bool = False) -> list[Given]:
        """What may be given out of some resources, `bundled` as the entries of one Bundle.

        A resource may also be `bytes`, or `Apart`, not parsed yet: of lines whose like was read
        before, most need not be.

        They are searched together. What identifies somebody is left out, and what is left is made
        and searched once more: a reference may not lead to what is not there.
        """
        asked = list(resources)
        kept = self._kept(asked)
        while True:
            made = self._made(kept, bundled)
            out = self._identified(kept, made)
            if not out:
                break
            kept = [same.without(out) for same in kept]
        given = [made[at] for at in sorted(made)]
        self.tally.written.update(map(_TYPE, given))
        return given

    def _kept(self, asked: Asked) -> list[_Kept]:
        """The records of those that were not refused; each has a pseudonym."""
        self.tally.read += len(asked)
        kept: list[_Kept] = []
        groups, others = self._groups(asked)
        for group in groups:
            kept += self._of_group(group, asked)
        for at in others:
            kept += self._of_other(at, asked)
        return kept

    def _groups(self, asked: Asked) -> tuple[list[Group], list[int]]:
        """What is of one form and one patient, and the places of all else."""
        forms = self._deidentifier.forms
        kinds = set(map(type, asked))
        if kinds == {bytes}:
            return forms.groups(asked)
        if Apart not in kinds:
            return [], list(range(len(asked)))
        cut = {at: one for at, one in enumerate(asked) if type(one) is Apart}
        groups, others = forms.groups_apart(cut)
        return groups, others + [at for at in range(len(asked)) if at not in cut]

    def _of_other(self, at: int, asked: Asked) -> Iterable[_Kept]:
        """Its form may have been learned by now."""
        line = _line_of(asked[at])
        found = None if line is None else self._deidentifier.forms.find(line)
        if found is None:
            return self._of_resource(at, asked[at])
        return self._of_group((found[0], [found[1]], [at]), asked)

    def _of_group(self, group: Group, asked: Asked) -> Iterator[_Kept]:
        form, values, places = group
        work = self._whose(form, values[0])
        leaves = None if work is None else work.session.leaves_of(form, values)
        if work is not None and leaves is not None:
            names = list(map(itemgetter(form.name), leaves))
            yield _Kept(work, form.type, form, places, names, leaves)
        elif work is None or len(places) == 1:
            for at in places:
                yield from self._of_resource(at, asked[at])
        else:  # one of them is not as expected
            for at, one in zip(places, values, strict=True):
                yield from self._of_group((form, [one], [at]), asked)

    def _whose(self, form: Form, values: Values) -> _Open | None:
        """Whose lines are, their form tells before they are parsed; None where they have to be."""
        if form.name < 0:
            return None
        text = values[form.owner] if form.owner >= 0 else None
        latest = self._latest
        if latest is None or latest[0] != text:  # mostly lines of one patient follow each other
            identity = NOBODY if text is None else self._owners.named(text)
            if identity is None:
                return None
            latest = self._latest = (text, self._work(identity))
        return latest[1]

    def _of_resource(self, at: int, resource: Any) -> Iterator[_Kept]:
        line = _line_of(resource)
        source = resource if line is None else read_line(line)
        identity = self._owners.of(source) if type(source) is dict else None
        work = self._work(identity or NOBODY)
        session = work.session
        if line is not None and type(source) is dict:
            record = session.of_parsed(line, source)
        else:
            record = session.apply(source)
        if isinstance(record, Refused):
            return
        if "id" not in record:
            self.tally.refusals[(record["resourceType"], "no-id")] += 1
            return
        yield _Kept(work, record["resourceType"], None, [at], [record["id"]], [record])

    def _made(self, kept: Sequence[_Kept], bundled: bool) -> Portion:
        self._begin_rendering(kept, bundled)
        made: Portion = {}
        for same in kept:
            lines = self._lines_of(same)
            if bundled:
                lines = same.work.renderer.entries(same.type, same.names, lines)
            found = zip(same.names, repeat(same.type), lines)  # as many as there are names
            made.update(zip(same.places, map(_given, found), strict=True))
        return made

    def _begin_rendering(self, kept: Sequence[_Kept], bundled: bool) -> None:
        entries = ((same.type, name) for same in kept for name in same.names)
        leads = addresses(entries) if bundled else {}
        names: dict[_Open, list[str]] = defaultdict(list)
        for same in kept:
            names[same.work] += same.names
        for work, ours in names.items():
            work.renderer = Renderer(work.session, leads, ours)

    def _lines_of(self, same: _Kept) -> list[bytes]:
        work, form = same.work, same.form
        if form is None:
            return [orjson.dumps(work.renderer.resource(record)) for record in same.own]
        return self._lines.written(work.session, work.renderer, form, same.own)

    def _identified(self, kept: Sequence[_Kept], made: Portion) -> set[int]:
        """Which of them hold what identifies their own patient."""
        of_whom: dict[_Open, list[int]] = defaultdict(list)
        for same in kept:
            of_whom[same.work] += same.places
        found: set[int] = set()
        for work, places in of_whom.items():
            own = work.renderer.spelled(work.given)
            identifying = work.search.search(list(map(_DATA, map(made.__getitem__, places))), own)
            if identifying:
                found.update(at for at in places if identifying.stands_in(made[at].data))
        for at in found:
            self.tally.refusals[(made[at].type, "identity-found")] += 1
        return found

    def close(self) -> Tally:
        while self._open:
            self._put_away()
        self._sealed.release()
        return self.tally

    # Sessions -------------------------------------------------------------------------------------

    def _work(self, identity: str) -> _Open:
        self._latest = None
        found = self._open.get(identity)
        if found is not None:
            self._open.move_to_end(identity)
            return found
        if len(self._open) >= self._keep_open:
            self._put_away()
        work = self._open[identity] = self._begin(identity)
        return work

    def _begin(self, identity: str) -> _Open:
        person = self._people.get(identity)
        reference = f"Patient/{identity}"
        found = self._sealed.load(self._project, person.base, reference)
        record = found or self._fresh(person.base, reference)
        ids = _Pseudonyms(record.ids, self._shared, set())
        subject = SubjectContext.of(
            person.patient, epoch=record.epoch, now=self._today, pseudonym=ids
        )
        session = self._deidentifier.session(subject)
        search = Searcher(person.values, fhir_words())
        known = None if found is None else len(found.ids)
        return _Open(session, record, known, search, ids.given, Renderer(session))

    def _fresh(self, base: str, patient: str) -> SubjectRecord:
        return SubjectRecord(
            project=self._project,
            base=base,
            patient=patient,
            twin=new_pseudonym(),
            epoch=draw_epoch(self._today),
            ids=Pseudonyms(),
            identity={},
        )

    def _put_away(self) -> None:
        """Sealed: the next resource of this patient finds the same pseudonyms there. What is
        nobody's leads back to nobody."""
        identity, work = self._open.popitem(last=False)
        self.tally.take(work.session)
        if identity == NOBODY:
            return
        if identity not in self._people_seen:
            self._people_seen.add(identity)
            self.tally.people.append(fhir_id(work.record.ids("Patient", identity)))
        if work.known is None or len(work.record.ids) > work.known:
            self._sealed.save(work.record)

    # The record of what was done ------------------------------------------------------------------

    def entry(self, outputs: list[dict[str, Any]]) -> ledger.LedgerEntry:
        """For the ledger, once closed: one entry for the batch, bound to the bytes written."""
        report = self.tally.as_report()
        return {
            "event": "files-deidentified",
            "time": ledger.coarse_time(self.policy, datetime.now(UTC)),
            "policy": self.policy.as_reference(),
            "software": SOFTWARE,
            "batch": self._people.batch,
            "outputs": outputs,
            **report,
            **ledger.obligations(self.tally.labels),
        }


@cache
def fhir_words() -> frozenset[str]:
    """Names and closed codes of R4, addresses of code systems, spellings of units: what a person or
    a clinic may be called without being recognised by it."""
    found: set[str] = {"Bundle", "fullUrl", "resource", "resourceType"}
    found |= vocabulary.unit_spellings() | vocabulary.system_addresses() | OUR_ADDRESSES
    for owner in BASES:
        for key, element in elements_of(owner).items():
            found |= {owner, key, "_" + key, element.type} | element.codes
    return frozenset(found)
