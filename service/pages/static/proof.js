// Is a file what its issuer signed? Twins, and packages of them; with the browser's own cryptography.
// Each check says what it looked at: `{what, ok, why}`; `ok` is null for what this browser can't tell.
import { bytes, gathered } from "./shl.js";

const HEAD = '{"twin":', MIDDLE = ',"proof":', TAIL = "}";
const MANIFEST = "manifest.json", SIGNATURE = "manifest.jws", TWIN = "twin.json", LEDGER = "ledger.jsonl";
const MEMBERS = 1000;
const latin = (octets) => new TextDecoder("latin1").decode(octets);
const utf8 = (text) => new TextEncoder().encode(text);

export const NO_ED25519 = "this browser has no Ed25519: the signature was not checked; use a newer browser or `twinport verify`";

// -- keys ---------------------------------------------------------------------------------------

// The key set by thumbprint; `kid` in the set is not believed.
export async function keysOf(set) {
  const found = new Map();
  for (const key of set.keys ?? []) {
    if (key?.kty === "OKP" && key.crv === "Ed25519") found.set(await thumbprint(key.x), key.x);
  }
  return found;
}

async function thumbprint(x) {
  const spelled = JSON.stringify({ crv: "Ed25519", kty: "OKP", x });
  return b64(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(spelled))));
}

const b64 = (octets) => btoa(String.fromCharCode(...octets)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

async function hex(octets) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", octets));
  return [...digest].map((one) => one.toString(16).padStart(2, "0")).join("");
}

// -- signatures ---------------------------------------------------------------------------------

// A detached JWS over exactly these bytes (RFC 7797); what is wrong, or "" and the header.
async function signed(jws, payload, keys) {
  const [first, middle, last, ...more] = jws.split(".");
  let header, signature;
  try {
    [header, signature] = [JSON.parse(latin(canonical(first))), canonical(last)];
  } catch {
    return ["the signature can't be read"];
  }
  if (middle !== "" || more.length || header.b64 !== false || header.crit?.join() !== "b64") return ["it is not a detached signature"];
  if (!["Ed25519", "EdDSA"].includes(header.alg)) return ["the algorithm is not allowed"];
  const x = keys.get(header.kid);
  if (!x) return ["signed by a key that is not in the key set"];
  let key;
  try {
    key = await crypto.subtle.importKey("raw", bytes(x), "Ed25519", false, ["verify"]);
  } catch {
    return [NO_ED25519, header, null];
  }
  const whole = await new Blob([utf8(`${first}.`), payload]).arrayBuffer();
  const good = await crypto.subtle.verify("Ed25519", key, signature, whole);
  return [good ? "" : "the signature does not belong to these bytes", header];
}

// Only the one spelling: other spellings of the same bytes are a change as well.
function canonical(text) {
  const octets = bytes(text);
  if (b64(octets) !== text) throw new Error("spelled otherwise");
  return octets;
}

const check = (what, [why, , unknown]) => ({ what, ok: unknown === null ? null : why === "", why });

// -- a twin -------------------------------------------------------------------------------------

export async function twin(data, keys) {
  const text = latin(data);
  const at = text.lastIndexOf(MIDDLE);
  const whole = text.startsWith(HEAD) && text.endsWith(TAIL) && at > 0 && text.indexOf(MIDDLE) === at;
  const proof = /^\{"jws":"([\w.-]+)"\}$/.exec(text.slice(at + MIDDLE.length, -TAIL.length));
  if (!whole || !proof) return { checks: [check(TWIN, ["it was re-formatted, cut or changed: it is not a twin file any more"])] };
  const payload = data.subarray(HEAD.length, at);
  const found = await signed(proof[1], payload, keys);
  const digest = `sha256:${await hex(payload)}`;
  return { checks: [check("Signature of the twin", found)], digest, kid: found[1]?.kid, about: head(payload) };
}

function head(payload) {
  try {
    const { twin: about, assessments } = JSON.parse(new TextDecoder().decode(payload));
    return { id: String(about.id), version: Number(about.version), policy: String(about.policy.id), assessments: assessments.length };
  } catch {
    return null;
  }
}

// -- a package ----------------------------------------------------------------------------------

export const isPackage = (data) => data[0] === 0x50 && data[1] === 0x4b;

export async function packaged(data, keys) {
  let parts;
  try {
    parts = await unzip(data);
  } catch (error) {
    return { checks: [check("The archive", [error.message])] };
  }
  const missing = [MANIFEST, SIGNATURE, TWIN, LEDGER].filter((name) => !parts.has(name));
  if (missing.length) return { checks: missing.map((name) => check(name, ["it is missing"])) };
  const list = parts.get(MANIFEST);
  const found = await signed(latin(parts.get(SIGNATURE)), list, keys);
  if (found[0] === "" && found[1].typ !== "twinport-sphr+jws") found[0] = "it was made for something else than a package";
  const checks = [check("Signature of the list of parts", found), ...(await listed(list, parts))];
  const inside = await twin(parts.get(TWIN), keys);
  checks.push(...inside.checks, ...(await ledger(parts.get(LEDGER), inside.digest, keys)));
  return { ...inside, checks };
}

async function listed(list, parts) {
  let rows;
  try {
    rows = new Map(JSON.parse(latin(list)).parts.map((row) => [row.path, row.sha256]));
  } catch {
    return [check(MANIFEST, ["it can't be read"])];
  }
  const names = new Set([...rows.keys(), ...parts.keys()]);
  names.delete(MANIFEST);
  names.delete(SIGNATURE);
  const checks = [];
  for (const name of [...names].sort()) {
    if (!rows.has(name)) checks.push(check(name, ["its issuer did not list it"]));
    else if (!parts.has(name)) checks.push(check(name, ["it is missing"]));
    else checks.push(check(name, [(await hex(parts.get(name))) === rows.get(name) ? "" : "it is not what its issuer listed: it was changed"]));
  }
  return checks;
}

async function ledger(data, digest, keys) {
  let about = false;
  for (const line of latin(data).split("\n").filter(Boolean)) {
    const found = /^\{"entry":(\{.*\}),"head":"([\w.-]+)"\}$/.exec(line);
    if (!found) return [check("Ledger", ["a line of it can't be read"])];
    const entry = Uint8Array.from(found[1], (letter) => letter.charCodeAt(0));
    const answer = await signed(found[2], entry, keys);
    if (answer[0]) return [check("Ledger", answer)];
    about ||= JSON.parse(found[1]).document === digest;
  }
  return [check("Ledger: the entry about this twin", [about ? "" : "there is none"])];
}

// -- zip ----------------------------------------------------------------------------------------

// Members by name, by the directory at the end; nothing encrypted, nothing twice, no surprise sizes.
async function unzip(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const damaged = () => new Error("it is damaged");
  let end = data.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw damaged();
  const count = view.getUint16(end + 10, true);
  if (count > MEMBERS) throw new Error("it has too many members");
  const parts = new Map();
  let at = view.getUint32(end + 16, true);
  try {
    for (let n = 0; n < count; n += 1) {
      if (view.getUint32(at, true) !== 0x02014b50) throw damaged();
      const [method, size, whole] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
      const [name, extra, note] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
      const local = view.getUint32(at + 42, true);
      const title = latin(data.subarray(at + 46, at + 46 + name));
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      if (parts.has(title) || start + size > data.length || ![0, 8].includes(method)) throw damaged();
      const packed = data.subarray(start, start + size);
      const content = method ? await inflated(packed) : packed;
      if (content.length !== whole) throw damaged();
      parts.set(title, content);
      at += 46 + name + extra + note;
    }
  } catch {
    throw damaged();
  }
  return parts;
}

const inflated = (packed) => gathered(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")));
