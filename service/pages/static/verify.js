// The page that checks a file. The file is read here and sent nowhere.
import { LARGEST } from "./shl.js";
import { el } from "./fhir.js";
import { isPackage, keysOf, packaged, twin } from "./proof.js";

const $ = (id) => document.getElementById(id);
const SIGNS = { true: ["✓", "in order"], false: ["✗", "not in order"], null: ["?", "not checked"] };

async function verify(event) {
  event.preventDefault();
  $("result").hidden = true;
  $("state").textContent = "Checking …";
  try {
    const [file] = $("file").files;
    if (file.size > LARGEST) return say("The file is larger than this page checks.");
    const keys = await trusted();
    if (!keys) return say("The key file holds no key set: it is JSON with a list `keys`.");
    const data = new Uint8Array(await file.arrayBuffer());
    show(await (isPackage(data) ? packaged(data, keys) : twin(data, keys)));
  } finally {
    $("state").textContent = "";
  }
}

// An issuer's key set from a file, else this installation's own.
async function trusted() {
  const [given] = $("keys").files;
  try {
    const text = given ? await given.text() : await (await fetch("/.well-known/jwks.json", { credentials: "omit" })).text();
    return await keysOf(JSON.parse(text));
  } catch {
    return null;
  }
}

function show({ checks, digest, kid, about }) {
  const bad = checks.filter((one) => one.ok === false);
  const unknown = checks.filter((one) => one.ok === null);
  const verdict = bad.length ? "Not verified: this is not what its issuer signed." : unknown.length ? "Not wholly checked." : "Verified: this is exactly what its issuer signed.";
  $("verdict").className = `notice${bad.length || unknown.length ? "" : " good"}`;
  say(verdict);
  const facts = [["Twin", about?.id], ["Version", about?.version], ["Policy", about?.policy], ["Assessments", about?.assessments], ["Digest", digest], ["Signed by the key", kid]];
  $("checks").replaceChildren(...checks.map(row));
  const told = bad.length ? [] : facts.filter(([, value]) => value !== undefined);
  $("facts").replaceChildren(...told.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { class: "mono" }, String(value))]));
}

function row({ what, ok, why }) {
  const [sign, said] = SIGNS[ok];
  return el("li", {}, el("span", { class: "sign", "aria-hidden": "true" }, sign), el("span", {}, `${what}: ${said}${why ? `; ${why}` : ""}`));
}

function say(sentence) {
  $("checks").replaceChildren();
  $("facts").replaceChildren();
  $("verdict-text").textContent = sentence;
  $("result").hidden = false;
  $("result").focus();
}

$("check").addEventListener("submit", verify);
