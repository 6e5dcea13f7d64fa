// SMART Health Links: read, asked for, decrypted. No page in here, and nothing kept.
// The key of a link is used in this browser alone; what is sent is who asks, and the passcode.

const SCHEME = "shlink:/";
const LONGEST_LINK = 4096, LONGEST_URL = 128, KEY = 32, IV = 12, TAG = 16;
export const LARGEST = 64 << 20;
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
const PATIENCE = 60_000;

// `code` names a sentence of the page; `more` what it speaks of.
export class Refusal extends Error {
  constructor(code, more = {}) {
    super(code);
    this.code = code;
    this.more = more;
  }
}

export function bytes(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Refusal("damaged");
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

const words = (octets) => new TextDecoder("utf-8", { fatal: true }).decode(octets);

function parsed(octets, code) {
  try {
    return JSON.parse(words(octets));
  } catch {
    throw new Refusal(code);
  }
}

// -- the link -----------------------------------------------------------------------------------

// Bare, or behind a viewer's address. Unknown members and flags are passed over, as the standard asks.
export function read(text) {
  const at = text.lastIndexOf(SCHEME);
  const bare = text.slice(at + SCHEME.length).trim().replace(/=+$/, "");
  if (at < 0) throw new Refusal("no-link");
  if (bare.length > LONGEST_LINK || !/^[A-Za-z0-9_-]+$/.test(bare)) throw new Refusal("damaged");
  const said = parsed(decoded(bare), "damaged");
  if (said === null || typeof said !== "object" || Array.isArray(said)) throw new Refusal("damaged");
  const link = {
    label: typeof said.label === "string" ? said.label.slice(0, 80) : "",
    expires: moment(said.exp),
    flag: typeof said.flag === "string" ? said.flag : "",
  };
  if ((said.v ?? 1) !== 1) throw new Refusal("newer", link);
  return { ...link, url: address(said.url, LONGEST_URL), key: keyOf(said.key) };
}

function decoded(text) {
  try {
    return bytes(text);
  } catch {
    throw new Refusal("damaged");
  }
}

function address(url, longest = 2048) {
  let parts;
  try {
    parts = new URL(String(url));
  } catch {
    throw new Refusal("damaged");
  }
  const safe = parts.protocol === "https:" || (parts.protocol === "http:" && LOOPBACK.has(parts.hostname));
  if (!safe || parts.username || String(url).length > longest) throw new Refusal("unsafe");
  return parts;
}

function keyOf(key) {
  const found = typeof key === "string" ? decoded(key) : [];
  if (found.length !== KEY) throw new Refusal("damaged");
  return found;
}

// Seconds since 1970. Some write milliseconds or a text: then the server alone decides.
const moment = (exp) => (typeof exp === "number" && exp > 0 && exp < 2 ** 33 ? new Date(exp * 1000) : null);

// -- what it leads to ---------------------------------------------------------------------------

// All files of the link, decrypted: `{type, content}`.
export async function open(link, recipient, passcode) {
  if (!globalThis.crypto?.subtle) throw new Refusal("no-crypto");
  const key = await crypto.subtle.importKey("raw", link.key, "AES-GCM", false, ["decrypt"]);
  if (link.flag.includes("U")) {
    const url = new URL(link.url);
    url.searchParams.set("recipient", recipient);
    return [await decrypted(await text(await ask(url)), key)];
  }
  const listed = await manifest(link, recipient, passcode);
  const files = [];
  for (const file of listed) {
    const sealed = file.embedded ?? (await text(await ask(address(file.location))));
    files.push(await decrypted(String(sealed), key, file.contentType));
  }
  return files;
}

async function manifest(link, recipient, passcode) {
  const body = JSON.stringify(passcode ? { recipient, passcode } : { recipient });
  const answer = await ask(link.url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const said = parsed(await octets(answer), "not-a-server");
  if (!Array.isArray(said?.files)) throw new Refusal("not-a-server");
  return said.files.filter((file) => file && (file.embedded || file.location));
}

async function ask(url, how = {}) {
  let answer;
  try {
    answer = await fetch(url, {
      ...how, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store", signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Refusal("unreachable");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) throw new Refusal("passcode", { left: await attempts(answer) });
  if (answer.status === 404 || answer.status === 410) throw new Refusal("gone");
  if (answer.status === 429) throw new Refusal("busy", { seconds: Number(answer.headers.get("Retry-After")) || 60 });
  throw new Refusal("not-a-server");
}

async function attempts(answer) {
  try {
    const left = (await answer.json()).remainingAttempts;
    return Number.isInteger(left) ? left : null;
  } catch {
    return null;
  }
}

async function octets(answer) {
  return gathered(answer.body);
}

async function text(answer) {
  return words(await octets(answer)).trim();
}

// Never more than we are ready to hold, whatever the other side says of its length.
export async function gathered(stream) {
  const parts = [];
  let length = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > LARGEST) {
      await reader.cancel();
      throw new Refusal("too-large");
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// -- compact JWE: dir, A256GCM, deflated or not ---------------------------------------------------

export async function decrypted(sealed, key, listedAs = "") {
  const parts = sealed.split(".");
  if (parts.length !== 5 || parts[1]) throw new Refusal("damaged-file");
  const header = parsed(part(parts[0]), "damaged-file");
  if (header?.alg !== "dir" || header.enc !== "A256GCM" || "crit" in header) throw new Refusal("cipher");
  if ((header.zip ?? "DEF") !== "DEF") throw new Refusal("cipher");
  const [iv, body, tag] = [parts[2], parts[3], parts[4]].map(part);
  if (iv.length !== IV || tag.length !== TAG) throw new Refusal("damaged-file");
  const plain = await opened(key, iv, joined(body, tag), parts[0]);
  const content = header.zip ? await inflated(plain) : plain;
  return { type: kind(header.cty ?? listedAs), content: words(content) };
}

function part(text) {
  try {
    return bytes(text);
  } catch {
    throw new Refusal("damaged-file");
  }
}

function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

async function opened(key, iv, sealed, protectedPart) {
  const how = { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(protectedPart), tagLength: TAG * 8 };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(how, key, sealed));
  } catch {
    throw new Refusal("wrong-key");
  }
}

async function inflated(packed) {
  try {
    return await gathered(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal("damaged-file");
  }
}

const kind = (type) => String(type).split(";")[0].trim().toLowerCase();
