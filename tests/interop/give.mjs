// kill-the-clipboard as the giver: it makes a link and its files, this serves them. Prints the link.
import { createServer } from 'node:http';
import { SHL, SHLManifestBuilder, encryptSHLFile } from 'kill-the-clipboard';

const [flag, content] = [process.argv[2] || undefined, JSON.parse(process.argv[3])];
const files = new Map();
const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Content-Type' };
let manifest;

const server = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://127.0.0.1').pathname;
  const file = files.get(path.slice(1));
  if (request.method === 'OPTIONS') response.writeHead(204, cors).end();
  else if (file) response.writeHead(200, { ...cors, 'Content-Type': 'application/jose' }).end(file);
  else response.writeHead(200, { ...cors, 'Content-Type': 'application/json' }).end(await manifest());
});

server.listen(0, '127.0.0.1', async () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  const shl = SHL.generate({ baseManifestURL: base, manifestPath: flag?.includes('U') ? '' : '/m', flag, label: 'From another maker' });
  const builder = new SHLManifestBuilder({
    shl,
    uploadFile: async (jwe) => { const name = `file-${files.size}`; files.set(name, jwe); return name; },
    getFileURL: async (name) => `${base}/${name}`,
    loadFile: async (name) => files.get(name),
  });
  if (flag?.includes('U')) {
    files.set(new URL(shl.url).pathname.slice(1), await encryptSHLFile({ content: JSON.stringify(content), key: shl.key, contentType: 'application/fhir+json', enableCompression: true }));
  } else {
    await builder.addFHIRResource({ content, enableCompression: true });
    await builder.addFHIRResource({ content: { ...content, id: 'second' } });
    manifest = async () => JSON.stringify(await builder.buildManifest({ embeddedLengthMax: 10 }));
  }
  console.log(shl.toURI());
});
