// `jose` (it comes with kill-the-clipboard), a JOSE library that nobody here wrote: is manifest.jws the issuer's signature over manifest.json?
// Arguments: the folder a package was unzipped to, and the issuer's key set.
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, flattenedVerify } from 'jose';

const [folder, keys] = process.argv.slice(2);
const [first, , signature] = readFileSync(`${folder}/manifest.jws`, 'utf8').split('.');
const payload = readFileSync(`${folder}/manifest.json`);
try {
  const set = createLocalJWKSet(JSON.parse(readFileSync(keys, 'utf8')));
  const found = await flattenedVerify({ protected: first, payload, signature }, set);
  console.log(JSON.stringify({ kid: found.protectedHeader.kid, typ: found.protectedHeader.typ }));
} catch (error) {
  console.log(JSON.stringify({ error: error.code }));
}
