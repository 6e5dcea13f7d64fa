// The page that opens health links. The link stands after `#`: no server ever sees it.
import { Refusal, bytes, open, read } from "./shl.js";
import { el, shown } from "./fhir.js";

const SENTENCES = {
  "no-link": "This is not a health link. A health link holds the letters shlink:/ .",
  damaged: "The link is damaged. Copy it again, whole.",
  newer: "The link is of a newer kind than this page can read. Open it with a newer viewer.",
  unsafe: "The link leads to an address that is not encrypted (https), so it is not opened.",
  "no-crypto": "This browser can't decrypt here. Open the page over https, in a current browser.",
  unreachable: "The server behind the link can't be reached, or does not let viewers read it. Try again later.",
  gone: "The link is no longer available: it was taken back, has run out, or was used up. Ask for a new one.",
  "not-a-server": "The server behind the link gave an answer that is not a health link's. Ask whoever gave you the link.",
  "too-large": "What the link leads to is larger than this page opens.",
  "damaged-file": "What the link leads to is damaged. Ask for a new one.",
  cipher: "What the link leads to is encrypted in a way that this page does not know.",
  "wrong-key": "The key in the link does not open what it leads to: the link or the file was changed.",
};
const NAMELESS = "Somebody who gave no name";
const $ = (id) => document.getElementById(id);
let link = null;

// -- the link -----------------------------------------------------------------------------------

function start() {
  for (const id of ["refused", "paste", "ask", "passcode-field", "content"]) $(id).hidden = true;
  if (!location.hash.includes("shlink:/")) return void ($("paste").hidden = false);
  try {
    link = read(decodeURIComponent(location.hash.slice(1)));
  } catch (error) {
    return refuse(error);
  }
  $("label").textContent = link.label || "A health link";
  $("host").textContent = link.url.host;
  const over = link.expires && link.expires < new Date();
  $("expires").textContent = link.expires ? `${over ? "It ran out" : "It works until"} ${link.expires.toLocaleDateString("en", { dateStyle: "long" })}.` : "";
  $("passcode-field").hidden = !link.flag.includes("P");
  $("passcode").required = link.flag.includes("P");
  $("ask").hidden = false;
}

async function unlock(event) {
  event.preventDefault();
  $("refused").hidden = true;
  $("open").disabled = true;
  $("state").textContent = "Opening …";
  try {
    show(await open(link, $("recipient").value.trim() || NAMELESS, $("passcode").value));
  } catch (error) {
    refuse(error);
  } finally {
    $("open").disabled = false;
    $("state").textContent = "";
  }
}

function refuse(error) {
  const known = error instanceof Refusal;
  if (!known) console.error(error.name); // never its message: it can quote what was decrypted
  $("refused-text").textContent = known ? sentence(error) : "This page has a defect and could not show the content. It can still be opened by another viewer.";
  $("refused").hidden = false;
  if (known && ["gone", "no-link", "damaged", "unsafe", "newer"].includes(error.code)) $("ask").hidden = true;
  if (known && error.code === "passcode") {
    $("passcode-field").hidden = false;
    $("passcode").select();
  }
  $("refused").focus();
}

function sentence({ code, more }) {
  if (code === "busy") return `Too many have asked for this link just now. Try again in ${more.seconds} seconds.`;
  if (code !== "passcode") return SENTENCES[code];
  if (more.left === 0) return "The passcode is wrong, and that was the last try. The link opens nothing any more: ask for a new one.";
  const left = more.left === null ? "" : ` ${more.left} ${more.left === 1 ? "try is" : "tries are"} left, over the whole life of the link.`;
  return `The passcode is missing or wrong.${left}`;
}

// -- the content --------------------------------------------------------------------------------

function show(files) {
  $("ask").hidden = true;
  const parts = files.map((file, number) => one(file, number, files.length));
  const saved = el("ul", { class: "items" }, parts.flatMap((part) => part.saves));
  $("content").replaceChildren(
    ...parts.flatMap((part) => part.elements),
    el("section", { class: "part no-print" }, el("h2", {}, "Save it"), el("p", {}, "What you save here is no longer encrypted. Keep it as you keep other health papers."), saved),
  );
  $("content").hidden = false;
  $("content").focus();
}

function one({ type, content }, number, of) {
  const name = of > 1 ? `health-record-${number + 1}.json` : "health-record.json";
  let found;
  try {
    found = JSON.parse(content);
  } catch {
    return { elements: [el("p", {}, "A file of this link is not in a form this page can show. You can save it.")], saves: [save(content, name, "The file")] };
  }
  if (type === "application/smart-health-card") return card(found, content, number);
  if (type === "application/smart-api-access") {
    return { elements: [el("p", {}, "This link gives access to a server and not to a record. Open it with an app that can use such access.")], saves: [] };
  }
  return resource(found, content, name);
}

function resource(found, content, name) {
  const attached = attachment(found);
  if (attached) {
    const twin = attached.name === "twin.json";
    const about = twin ? "The signed twin comes with it: anybody can check that nobody changed it, without whoever gave it to you." : "A document comes with it.";
    return { elements: [el("section", { class: "part" }, el("h2", {}, twin ? "The signed twin" : attached.title), el("p", {}, about))], saves: [save(attached.content, attached.name, twin ? "The signed twin" : attached.title)] };
  }
  return { elements: shown(found), saves: [save(content, name, "The record as FHIR")] };
}

function attachment(found) {
  const inside = found?.resourceType === "DocumentReference" ? found.content?.[0]?.attachment : null;
  if (typeof inside?.data !== "string") return null;
  const name = /^[\w.-]{1,80}$/.test(inside.title ?? "") ? inside.title : "document";
  return { content: Uint8Array.from(atob(inside.data), (letter) => letter.charCodeAt(0)), name, title: String(found.description ?? "Document") };
}

// A health card: the record inside is shown, its issuer's signature is not judged here.
function card(found, content, number) {
  const cards = Array.isArray(found?.verifiableCredential) ? found.verifiableCredential : [];
  const place = el("div", {}, el("h2", {}, "A health card"), el("p", { class: "small" }, "This page shows what the card says. It does not check who issued it."));
  for (const one of cards) {
    inside(String(one)).then((bundle) => place.append(...shown(bundle)), () => place.append(el("p", {}, "The card can't be read.")));
  }
  return { elements: [place], saves: [save(content, `health-card-${number + 1}.smart-health-card`, "The health card")] };
}

async function inside(jws) {
  const stream = new Blob([bytes(jws.split(".")[1])]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text()).vc.credentialSubject.fhirBundle;
}

// Always as bytes to be saved: a stranger's file is never opened as a page of ours.
function save(content, name, title) {
  const url = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  return el("li", {}, el("a", { href: url, download: name }, title), ` (${name})`);
}

$("ask").addEventListener("submit", unlock);
$("paste").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("pasted").value.trim();
  location.hash = text.slice(Math.max(0, text.lastIndexOf("shlink:/")));
  if (!text.includes("shlink:/")) refuse(new Refusal("no-link"));
});
addEventListener("hashchange", start);
start();
