// Validates one CycloneDX 1.6 JSON file against the strict schema, with @cyclonedx/cyclonedx-library.
//   node cyclonedx-validate.mjs FILE
// The library is looked for below $PEERS/npm/cyclonedx-library (default ~/.cache/proofmark-peers), where the peers'
// installer puts it. Exit codes: 0 valid · 1 not valid · 2 it could not be asked.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

const [file] = process.argv.slice(2);
if (!file) {
  console.error('usage: cyclonedx-validate.mjs FILE');
  process.exit(2);
}
try {
  const peers = process.env.PEERS ?? join(homedir(), '.cache', 'proofmark-peers');
  const require = createRequire(join(peers, 'npm', 'cyclonedx-library', 'package.json'));
  const { Spec, Validation } = require('@cyclonedx/cyclonedx-library');
  const text = readFileSync(file, 'utf8');
  const errors = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text);
  if (JSON.parse(text).specVersion !== '1.6') {
    console.log(`not valid: ${file}: specVersion is not 1.6`);
    process.exit(1);
  }
  if (errors !== null) {
    console.log(`not valid: ${file}`);
    console.log(JSON.stringify(errors, null, 2));
    process.exit(1);
  }
  console.log(`valid: ${file}`);
} catch (error) {
  console.error(`can't validate ${file}: ${error.message}`);
  process.exit(2);
}
