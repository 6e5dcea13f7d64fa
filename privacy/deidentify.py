"""The de-identifier: resources in, records without identity out, everything counted.

deidentifier = Deidentifier(load_policy("safe-harbor"), guards)      # once; threads share it
session = deidentifier.session(SubjectContext.of(patient, epoch=..., now=..., pseudonym=...))
record = session.apply(resource)                                     # a dict, or `Refused`
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from privacy.compile import Compiler, Refusal, Rule
from privacy.dicom.judge import Dataset, Judge
from privacy.elements import IN_SCOPE, RESOURCE_TYPES
from privacy.forms import Form, Forms, Found, Leaves, Values
from privacy.guards import Guards
from privacy.plans import MANY, ODD, Noted, Odd, Planner
from privacy.policy import Policy
from privacy.pseudonyms import Pseudonyms
from privacy.subject import SubjectContext
from privacy.times import Clock, day_of, ends_well, parse

__all__ = ["Count", "Deidentifier", "Guards", "Refused", "Session", "Target"]

Count = tuple[str, str, str]  # resource type, path inside it, what was done

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_VERSION = re.compile(r"/_history/[A-Za-z0-9\-.]{1,64}\Z")
REMEMBERED = 10_000  # dates, and references, that are not worked out anew for each resource
TOGETHER = 512  # lines that are taken apart before the first of them is judged
_PEOPLE = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner", "Group"})
_Found = TypeVar("_Found")


def _remember(memory: dict[str, _Found], text: str, found: _Found) -> _Found:
    """Begins again when it is full: what is met often is soon back, and a long record, no two of
    its dates alike, does not fill the memory with them."""
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[text] = found
    return found


def _each(pseudonym: Callable[[str, str], str], kind: str, ids: Iterable[str]) -> list[str]:
    return [pseudonym(kind, identity) for identity in ids]


@dataclass(frozen=True, slots=True)
class Refused:
    """A resource that may not be used, by type, path and rule; never with a value."""

    type: str
    reason: str
    path: str = ""


class Target(NamedTuple):
    """What a reference points at. `text` is its pseudonymous form, None when there is none."""

    type: str
    id: str
    text: str | None
    reason: str
    mine: bool = False  # the patient of the run


class Deidentifier:
    """One policy, compiled against one vocabulary. Holds no patient; safe to share."""

    def __init__(self, policy: Policy, guards: Guards, *, plans: bool = True) -> None:
        """Without `plans` every resource goes through the rules: slower, the same result."""
        compiler = Compiler(policy, guards)
        self.policy, self.decimals = policy, guards.decimals
        rules = compiler.tables()
        self.slots: tuple[Count, ...] = tuple(compiler.slots)
        self.planner = Planner(compiler)
        self.forms = Forms(self.planner)
        self.dicom = Judge({path: verdict.action for path, verdict in policy.dicom.items()})
        self.tables: dict[str, Rule] = {
            name: self.planner.resource(name, rule) if plans else rule
            for name, rule in rules.items()
        }
        self.tables["Patient"] = _of_the_run(self.tables["Patient"])
        # What is kept of a study with DICOM metadata depends on more than its shape: the rules.
        self.with_series = {**self.tables, "ImagingStudy": rules["ImagingStudy"]}

    def session(
        self, subject: SubjectContext, series: Mapping[str, Sequence[Dataset]] | None = None
    ) -> "Session":
        """`series`: DICOM metadata of the patient's series, by the `uid` of the FHIR series."""
        return Session(self, subject, series or {})


def _of_the_run(rule: Rule) -> Rule:
    """The Patient of the run and no other; age and death stand in the record."""

    def apply(source: Any, session: "Session") -> Any:
        session.require_patient(source)
        return rule(source, session) | session.patient_life()

    return apply


class Session:
    """One patient's run through a de-identifier. Not shared between threads."""

    def __init__(
        self,
        deidentifier: Deidentifier,
        subject: SubjectContext,
        series: Mapping[str, Sequence[Dataset]],
    ) -> None:
        policy = deidentifier.policy
        self._tables = deidentifier.with_series if series else deidentifier.tables
        self._forms = deidentifier.forms
        self._slots, self._subject = deidentifier.slots, subject
        ids, self.epoch = subject.pseudonym, subject.epoch
        # The method itself: to call an object takes Python a search for it each time.
        self.pseudonym = ids.__call__ if isinstance(ids, Pseudonyms) else ids
        # Of many resources of one type; whoever gives pseudonyms may know how to give many.
        self.pseudonyms: Callable[[str, Iterable[str]], list[str]] = getattr(
            ids, "many", partial(_each, ids)
        )
        self.policy, self.decimals = policy, deidentifier.decimals
        self._bundles = deidentifier.planner.bundles
        self._dicom, self._series = deidentifier.dicom, series
        self.today = subject.now.date() if isinstance(subject.now, datetime) else subject.now
        self.life = subject.life.until(self.today)
        self.top_coded = self.life.may_be_over(policy.age.top, self.today)
        self.clock = Clock(policy.time, subject.epoch, subject.now, self.reference_day())
        self._in_days = policy.time.unit == "d"  # then the time of day changes no offset
        # Written by the compiled rules and the plans.
        self.hits: defaultdict[int, int] = defaultdict(int)  # by slot: of all, a few are met
        self.done: Noted = []  # bundles of the plans, not yet added up
        self.special = 0
        self.extensions: Counter[Count] = Counter()
        self.labels: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()  # (resource type, reason)
        self.offsets: dict[str, tuple[int, str] | str] = {}
        self.times: dict[str, list[Any]] = {}
        self._days: dict[str, list[Any]] = {}  # the same by day, where all times of a day are one
        self.targets: dict[str, Target] = {}
        # References as records hold them: those to the patient of the run, and all.
        self.own_texts: dict[str, dict[str, str]] = {}
        self.told_texts: dict[str, dict[str, str]] = {}

    def reference_day(self) -> date:
        return self.life.reference(self.today)

    @property
    def now(self) -> int:
        """The offset of the as-of moment."""
        return self.clock.now

    @property
    def counts(self) -> Counter[Count]:
        """How often each action was taken at each path."""
        self.add_up()
        hits = sorted(self.hits.items())
        found = Counter({self._slots[slot]: times for slot, times in hits if times})
        found.update(self.extensions)
        return found

    def apply(self, resource: Any) -> dict[str, Any] | Refused:
        """The de-identified record of one resource. Whatever goes wrong, nothing passes through."""
        name = resource.get("resourceType") if type(resource) is dict else None
        rule = self._tables.get(name) if type(name) is str else None
        if rule is None:
            return self.refuse(name, "no-type" if name is None else "type-out-of-scope")
        try:
            record: dict[str, Any] = rule(resource, self)
        except Refusal as refusal:
            return self.refuse(name, refusal.reason, refusal.path)
        return record

    def alike(self, lines: Iterable[bytes], parse: Callable[[bytes], Any]) -> Iterator[list[Any]]:
        """The same of lines of NDJSON, which are parsed only if nothing like them was read before.

        In no order, but together what is alike: records of one list differ in ids, references,
        times and numbers alone. What was refused stands by itself.
        """
        rest = iter(lines)
        while some := tuple(islice(rest, TOGETHER)):
            groups, others = self._forms.groups(some)
            for at in others:  # or is its form known by now?
                yield [self.of_line(some[at], parse)]
            for form, values, places in groups:
                # Their lines are hardly ever looked at again.
                yield from self._alike(form, values, map(some.__getitem__, places), parse)

    def alike_apart(
        self,
        residue: bytes,
        lines: Sequence[bytes],
        values: Sequence[Values],
        parse: Callable[[bytes], Any],
    ) -> Iterator[list[Any]]:
        """The same of lines that were taken apart before and have this residue."""
        at = 0
        while at < len(lines):
            form = self._forms.of(residue)
            if form is None:  # it may be learned by one of them
                yield [self.of_parsed(lines[at], parse(lines[at]))]
                at += 1
            else:
                some = slice(at, at + TOGETHER)
                yield from self._alike(form, list(map(form.pick, values[some])), lines[some], parse)
                at += TOGETHER

    def _alike(
        self,
        form: Form,
        values: Sequence[Values],
        lines: Iterable[bytes],
        parse: Callable[[bytes], Any],
    ) -> Iterable[list[Any]]:
        try:
            return (form.fill(values, self, form.record, form.counted),)
        except ODD:  # one of them
            return [
                [self._of_line(line, (form, one), parse)]
                for line, one in zip(lines, values, strict=True)
            ]

    def of_line(self, line: bytes, parse: Callable[[bytes], Any]) -> dict[str, Any] | Refused:
        return self._of_line(line, self._forms.find(line), parse)

    def _of_line(
        self, line: bytes, found: Found | None, parse: Callable[[bytes], Any]
    ) -> dict[str, Any] | Refused:
        record = None if found is None else self.of_form(found)
        return self.of_parsed(line, parse(line)) if record is None else record

    def of_form(self, found: Found) -> dict[str, Any] | None:
        """The same of a line of a known form; None if it has to be parsed all the same."""
        form, values = found
        try:
            return form.fill((values,), self, form.record, form.counted)[0]
        except ODD:
            return None

    def leaves_of(self, form: Form, values: Iterable[Values]) -> list[Leaves] | None:
        """What the records of lines of one form have of their own: for those who need no records.
        None if one of the lines has to be parsed: nothing is counted then."""
        try:
            return form.judge(values, self, form.counted)
        except ODD:
            return None

    def note(self, counted: tuple[int, ...]) -> None:
        """What plans would have counted of some lines."""
        if len(self.done) > MANY:
            self.add_up()
        self.done += counted

    def of_parsed(self, line: bytes, source: Any) -> dict[str, Any] | Refused:
        """The same of a line that was parsed: something may be learned by it."""
        return self._forms.learn(line, source, self) or self.apply(source)

    def refuse(self, name: Any, reason: str, path: str = "") -> Refused:
        known = name if type(name) is str and name in RESOURCE_TYPES else "unknown"
        self.refusals[(known, reason)] += 1
        return Refused(known, reason, path)

    def require_patient(self, resource: dict[str, Any]) -> None:
        if resource.get("id") != self._subject.patient_id:
            raise Refusal("Patient.id", "another-patient")

    def patient_life(self) -> dict[str, Any]:
        """Age and death, from the birth and death that the context has read."""
        found: dict[str, Any] = {}
        age = self.life.age(self.today)
        top = self.policy.age.top
        if self.top_coded and age is not None:
            found |= {"age": top, "ageTopCoded": True}
        elif age is not None:
            found |= {"age": age, "ageTopCoded": False}
        if self.life.dead:
            found["deceased"] = True
            at = self.clock.offset(self.life.died)
            if type(at) is tuple:
                found["deceasedAt"] = list(at)
        else:
            found["deceased"] = False
        return found

    # Called by the compiled rules and the plans ---------------------------------------------------

    def add_up(self) -> None:
        """What the plans have noted, so that a long record's notes do not grow with it."""
        hits, bundles = self.hits, self._bundles
        for number, times in Counter(self.done).items():
            for slot in bundles[number]:
                hits[slot] += times
        self.done.clear()

    def offset(self, text: Any) -> tuple[int, str] | str:
        if type(text) is not str:
            return "invalid-date"
        found = self.offsets.get(text)
        if found is None:
            day = day_of(text) if self._in_days else None
            found = self.clock.offset(parse(text)) if day is None else self.clock.day(day)
            _remember(self.offsets, text, found)
        return found

    def time(self, text: Any) -> list[Any]:
        """The time leaf of a record, for plans: shared by all that were dated alike."""
        known = self._days.get(text[:10])
        if known is not None and ends_well(text):
            return _remember(self.times, text, known)
        found = self.offset(text)
        if type(found) is not tuple:
            raise Odd
        made = _remember(self.times, text, [found[0], found[1]])
        return (
            _remember(self._days, text[:10], made) if self._in_days and found[1] == "day" else made
        )

    def acquisition(self, series: Any) -> dict[str, Any] | None:
        """What the policy keeps of the DICOM metadata of one FHIR series; None where none came."""
        uid = series.get("uid") if type(series) is dict else None
        datasets = self._series.get(uid, ()) if type(uid) is str else ()
        if not datasets:
            return None
        counts: Counter[tuple[str, str]] = Counter()
        found = self._dicom.acquisition(datasets, counts)
        for (attribute, action), times in counts.items():
            self.extensions[("ImagingStudy", f"series.dicom.{attribute}", action)] += times
        return found

    def reference(self, text: Any) -> Target:
        if type(text) is not str or not text:
            return Target("", "", None, "no-literal")
        found = self.targets.get(text)
        if found is None:
            found = _remember(self.targets, text, self._resolve(text))
        return found

    def own(self, text: Any) -> dict[str, str]:
        """A reference to the patient of the run, for plans: shared by all records."""
        if not self.reference(text).mine:
            raise Odd
        return self.own_texts.get(text) or _remember(self.own_texts, text, self.told(text))

    def told(self, text: Any) -> dict[str, str]:
        """A reference to anything that records may refer to, for plans."""
        told = self.reference(text).text
        if told is None:
            raise Odd
        return self.told_texts.get(text) or _remember(self.told_texts, text, {"reference": told})

    def _resolve(self, text: str) -> Target:
        if text.startswith("#"):
            return Target("", "", None, "contained")
        plain = _VERSION.sub("", text) if "/_history/" in text else text
        kind, _, identity = self._relative(plain).partition("/")
        if kind not in RESOURCE_TYPES or not _ID.fullmatch(identity):
            return Target("", "", None, "unresolved")
        if kind not in IN_SCOPE:
            return Target(kind, identity, None, "out-of-scope")
        mine = kind == "Patient" and identity == self._subject.patient_id
        return Target(kind, identity, f"{kind}/{self.pseudonym(kind, identity)}", "", mine)

    def _relative(self, text: str) -> str:
        """`Type/id` of a fullUrl of the same Bundle, or of a URL below a base of the server."""
        linked = self._subject.links.get(text)
        if linked is not None:
            return linked
        for base in self._subject.bases:
            if text.startswith(base):
                return text[len(base) :]
        return text

    def require_own(self, target: Target, path: str, action: str) -> None:
        """Refuse what is somebody else's; `about` may also point at things."""
        if target.mine or target.reason in {"contained", "no-literal"}:
            return
        if action == "subject":
            raise Refusal(
                path, "another-patient" if target.type == "Patient" else "unknown-subject"
            )
        if target.type in _PEOPLE:
            raise Refusal(path, "about-somebody-else")
