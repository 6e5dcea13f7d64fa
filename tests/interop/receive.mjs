// kill-the-clipboard, an independent receiver of SMART Health Links: link and passcode in, content out.
import { SHLViewer } from 'kill-the-clipboard';

const [shlinkURI, passcode, embeddedLengthMax] = process.argv.slice(2);
try {
  const viewer = new SHLViewer({ shlinkURI });
  const found = await viewer.resolveSHL({
    recipient: 'Example receiver',
    passcode: passcode || undefined,
    embeddedLengthMax: embeddedLengthMax ? Number(embeddedLengthMax) : undefined,
  });
  console.log(JSON.stringify({ label: viewer.shl.label, resources: found.fhirResources }));
} catch (error) {
  console.log(JSON.stringify({ error: error.code ?? 'unknown', message: error.message }));
}
