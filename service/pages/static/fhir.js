// FHIR from anybody, as elements of a page. Everything is set as text: what a stranger wrote
// stays words, whatever it looks like.

const RELATIVE = "http://hl7.org/fhir/StructureDefinition/cqf-relativeDateTime";
const MOST = 500; // rows of one list; the file that can be saved has all of them
const WHEN = ["effective", "onset", "performed", "occurrence", "authoredOn", "date", "recordedDate", "started", "issued"];
const NAMED_BY = ["code", "medicationCodeableConcept", "vaccineCode", "type", "method", "category"];
const TITLES = {
  Condition: "Problems", AllergyIntolerance: "Allergies and intolerances", MedicationRequest: "Medications", MedicationStatement: "Medications",
  Procedure: "Procedures", Immunization: "Immunizations", Observation: "Results", RiskAssessment: "Assessments by models",
  DiagnosticReport: "Reports", Encounter: "Visits", DocumentReference: "Documents",
};
const NO_DATES = "This record carries no calendar dates. Times say how long before its newest moment something was.";
const FRAME = new Set(["Composition", "Patient", "Device", "Provenance", "Organization", "Practitioner", "PractitionerRole", "Medication", "Location", "Specimen", "Coverage"]);

// An element; children are elements or text. There is no way in here for markup.
export function el(name, about = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
  made.append(...children.flat().filter((child) => child !== null && child !== ""));
  return made;
}

// Whatever stands there, as a list of objects: a stranger's file has anything anywhere.
const list = (value) => (Array.isArray(value) ? value : [value]).filter((one) => one !== null && typeof one === "object" && !Array.isArray(one));
const plain = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

// -- a resource in words ------------------------------------------------------------------------

export function concept(found) {
  if (!found || typeof found !== "object") return "";
  const codings = list(found.coding);
  const shown = codings.map((coding) => plain(coding?.display)).find(Boolean);
  const code = codings.map((coding) => plain(coding?.code)).find(Boolean);
  return plain(found.text) || shown || (code ? `code ${code}` : "");
}

function name(resource, look) {
  for (const key of NAMED_BY) {
    const found = concept(list(resource[key])[0]);
    if (found) return found;
  }
  const medicine = look(resource.medicationReference?.reference);
  return (medicine && concept(medicine.code)) || plain(resource.description) || plain(resource.title) || plain(resource.resourceType);
}

function quantity(found) {
  const number = typeof found.value === "number" ? found.value.toLocaleString("en", { maximumSignificantDigits: 6, useGrouping: false }) : "";
  return `${plain(found.comparator)}${number} ${plain(found.unit) || plain(found.code)}`.trim();
}

function value(element) {
  if (element.valueQuantity) return quantity(element.valueQuantity);
  if (element.valueCodeableConcept) return concept(element.valueCodeableConcept);
  if (element.valueRange) return [element.valueRange.low, element.valueRange.high].filter(Boolean).map(quantity).join(" to ");
  if (element.valueRatio) return [element.valueRatio.numerator, element.valueRatio.denominator].filter(Boolean).map(quantity).join(" : ");
  if (typeof element.valueBoolean === "boolean") return element.valueBoolean ? "yes" : "no";
  const parts = list(element.component).map((one) => `${concept(one?.code)} ${value(one ?? {})}`.trim());
  return plain(element.valueString) || plain(element.valueInteger) || plain(element.valueDateTime) || parts.join(", ");
}

function when(resource) {
  for (const start of WHEN) {
    const key = [`${start}DateTime`, start, `${start}Period`].find((one) => one in resource || `_${one}` in resource);
    if (key === undefined) continue;
    const found = resource[key];
    const stated = plain(found) || plain(found?.start);
    const masked = resource[`_${key}`] ?? found?._start;
    const told = stated ? day(stated) : relative(masked);
    if (told) return told;
  }
  return "";
}

const day = (stated) => stated.replace(/T.*/, "");

// "3 years before": how long before the record was read. Twins carry no calendar.
function relative(element) {
  const found = list(element?.extension).find((one) => one?.url === RELATIVE);
  if (!found) return "";
  const parts = Object.fromEntries(list(found.extension).map((one) => [one?.url, one]));
  const { value: length, unit } = parts.offset?.valueDuration ?? {};
  const where = plain(parts.relationship?.valueCode);
  if (where === "concurrent" || length === 0) return "latest";
  const days = { d: 1, min: 1 / 1440, h: 1 / 24, mo: 30.4375, a: 365.25 }[plain(unit)] * length;
  return Number.isFinite(days) ? `${span(days)} ${where === "after" ? "after" : "before"}` : "";
}

export function span(days) {
  const steps = [["year", 365.25], ["month", 30.4375], ["week", 7], ["day", 1]];
  const [word, size] = steps.find(([, size]) => days >= 2 * size) ?? ["day", 1];
  const n = Math.max(1, Math.round(days / size));
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

function status(resource) {
  return concept(resource.clinicalStatus).replace(/^code /, "") || plain(resource.status);
}

// -- a bundle -----------------------------------------------------------------------------------

export function shown(resource) {
  const [found] = list(resource);
  if (!found) return [el("p", {}, "A file of this link holds no record that this page can show.")];
  return found.resourceType === "Bundle" ? bundle(found) : sections([["", [found]]], () => null);
}

function bundle(found) {
  const entries = list(found.entry).filter((entry) => entry?.resource?.resourceType);
  const by = new Map();
  for (const { fullUrl, resource } of entries) {
    if (fullUrl) by.set(fullUrl, resource);
    by.set(`${resource.resourceType}/${resource.id}`, resource);
  }
  const look = (reference) => by.get(reference) ?? by.get(String(reference).split("/").slice(-2).join("/")) ?? null;
  const cover = entries.map((entry) => entry.resource).find((one) => one.resourceType === "Composition");
  const patient = look(cover?.subject?.reference) ?? entries.map((entry) => entry.resource).find((one) => one.resourceType === "Patient");
  const masked = JSON.stringify(found).includes(RELATIVE);
  const parts = cover ? composed(cover, look) : gathered(entries.map((entry) => entry.resource));
  return [cover ? el("h2", {}, plain(cover.title) || "Patient summary") : null, patient ? person(patient) : null, masked ? el("p", { class: "small" }, NO_DATES) : null, ...sections(parts, look)].filter(Boolean);
}

function composed(cover, look) {
  return list(cover.section).map((section) => [
    plain(section.title) || concept(section.code) || "Section",
    list(section.entry).map((entry) => look(entry?.reference)).filter(Boolean),
    concept(section.emptyReason) || narrative(section.text),
  ]);
}

function gathered(resources) {
  const groups = new Map();
  for (const one of resources) {
    if (FRAME.has(one.resourceType)) continue;
    const title = TITLES[one.resourceType] ?? one.resourceType;
    groups.set(title, [...(groups.get(title) ?? []), one]);
  }
  return [...groups];
}

// A section without entries has its words in the narrative alone.
function narrative(text) {
  const letters = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: " " };
  const bare = plain(text?.div).slice(0, 20_000).replace(/<[^>]*>/g, " ");
  return bare.replace(/&(lt|gt|amp|quot|apos|nbsp);/g, (_, name) => letters[name]).replace(/\s+/g, " ").trim().slice(0, 2000);
}

function person(patient) {
  const names = list(patient.name)[0] ?? {};
  const called = plain(names.text) || [names.given, names.family].flat().map(plain).filter(Boolean).join(" ");
  const age = list(patient.extension).map((one) => one?.valueQuantity).find((one) => one && plain(one.code) === "a");
  const facts = [
    ["Name", called || "not in this record"],
    ["Sex", plain(patient.gender)],
    ["Born", plain(patient.birthDate)],
    ["Age", age ? `${age.comparator === ">=" ? "at least " : ""}${age.value} years` : ""],
    ["Died", patient.deceasedBoolean === true ? "yes" : plain(patient.deceasedDateTime)],
  ];
  const items = facts.filter(([, told]) => told).map(([title, told]) => el("li", {}, el("strong", {}, `${title}: `), told));
  return el("ul", { class: "facts" }, items);
}

function sections(parts, look) {
  return parts.map(([title, resources, empty]) => section(title, resources, empty ?? "", look));
}

function section(title, resources, empty, look) {
  const answers = resources.filter((one) => one.resourceType === "RiskAssessment");
  const rest = resources.filter((one) => one.resourceType !== "RiskAssessment");
  const body = [
    ...answers.map(assessment),
    rest.length ? table(rest, look) : null,
    resources.length ? null : el("p", {}, empty || "Nothing is listed here."),
  ];
  return el("section", { class: "part" }, title ? el("h3", {}, title) : null, body);
}

// -- lists --------------------------------------------------------------------------------------

// One row for all values of one kind, the newest first: a record of years stays readable.
function table(resources, look) {
  const groups = new Map();
  for (const one of resources) {
    const title = name(one, look);
    groups.set(title, [...(groups.get(title) ?? []), one]);
  }
  const told = [["Value", value], ["When", when], ["State", status]].filter(([, tell]) => resources.some(tell));
  const head = ["What", ...told.map(([label]) => label)].map((one) => el("th", { scope: "col" }, one));
  const rows = [...groups].slice(0, MOST).map(([title, all]) => row(title, all.sort(later), told));
  return el("table", { class: "stack" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
}

function row(title, all, told) {
  const [first, ...others] = all;
  const cells = told.map(([label, tell]) => [label, tell(first)]);
  const earlier = others.length ? more(others) : null;
  return el("tr", {}, el("th", { scope: "row" }, title, earlier), cells.map(([label, told]) => el("td", { "data-label": label }, told || "–")));
}

function more(others) {
  const told = others.slice(0, MOST).map((one) => el("li", {}, [value(one), when(one), status(one)].filter(Boolean).join(" · ")));
  return el("details", {}, el("summary", {}, `${others.length} more`), el("ul", { class: "items" }, told));
}

function later(one, other) {
  return age(one) - age(other);
}

// How long ago, in days, in whichever way the resource says it.
function age(resource) {
  const text = when(resource);
  const [, n, word] = /^(\d+) (year|month|week|day)s? before$/.exec(text) ?? [];
  if (n) return exact(resource) ?? n * { year: 365, month: 30, week: 7, day: 1 }[word];
  const at = Date.parse(text);
  return Number.isNaN(at) ? (text === "latest" ? 0 : Infinity) : -at / 86_400_000;
}

function exact(resource) {
  const element = resource._effectiveDateTime ?? resource._onsetDateTime ?? resource._authoredOn ?? resource.performedPeriod?._start;
  const found = list(element?.extension).find((one) => one?.url === RELATIVE);
  const offset = list(found?.extension).find((one) => one?.url === "offset")?.valueDuration;
  return typeof offset?.value === "number" ? offset.value * (offset.unit === "min" ? 1 / 1440 : 1) : undefined;
}

// -- assessments --------------------------------------------------------------------------------

function assessment(found) {
  const predictions = list(found.prediction).map((one) => el("li", {}, el("strong", {}, concept(one?.outcome) || "Outcome"), el("p", {}, chance(one ?? {}))));
  const notes = list(found.note).map((one) => el("p", { class: "small" }, plain(one?.text)));
  const checked = plain(found.status) === "final" ? "A clinician has reviewed it." : "No clinician has checked it.";
  return el("article", { class: "card" },
    el("h4", {}, concept(found.method) || "A calculator"),
    el("p", { class: "small" }, `An estimate by a calculator, not a diagnosis. ${checked}`),
    el("ul", { class: "items" }, predictions), notes);
}

function chance(one) {
  const stated = typeof one.probabilityDecimal === "number" ? `${one.probabilityDecimal} %` : "";
  const range = one.probabilityRange ? [one.probabilityRange.low, one.probabilityRange.high].filter(Boolean).map(quantity).join(" to ") : "";
  const category = concept(one.qualitativeRisk);
  return [plain(one.rationale) || stated || range || "No number.", category].filter(Boolean).join(" ");
}
