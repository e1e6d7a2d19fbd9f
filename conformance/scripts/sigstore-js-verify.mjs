// Times @sigstore/verify on one bundle, offline.
//   node sigstore-js-verify.mjs BUNDLE ARTIFACT TRUSTED_ROOT IDENTITY ISSUER RUNS
// Prints one JSON object: milliseconds of the first call (trust material, bundle and verification; modules are loaded before the clock
// starts), and the median of RUNS further ones. The library is looked for below $PEERS/npm/sigstore-js (default
// ~/.cache/proofmark-peers), where the peers' installer puts it. Exit codes: 0 verified, 1 not, 2 it could not be asked.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

const [bundle, artifact, trustedRoot, identity, issuer, runs] = process.argv.slice(2);
if (!runs) {
  console.error('usage: sigstore-js-verify.mjs BUNDLE ARTIFACT TRUSTED_ROOT IDENTITY ISSUER RUNS');
  process.exit(2);
}
let once;
try {
  const peers = process.env.PEERS ?? join(homedir(), '.cache', 'proofmark-peers');
  const require = createRequire(join(peers, 'npm', 'sigstore-js', 'package.json'));
  const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
  const { bundleFromJSON } = require('@sigstore/bundle');
  const { TrustedRoot } = require('@sigstore/protobuf-specs');
  const [bundleText, rootText] = [readFileSync(bundle, 'utf8'), readFileSync(trustedRoot, 'utf8')];
  const bytes = readFileSync(artifact);
  once = () => {
    const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(rootText))), {
      tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1,
    });
    const parsed = bundleFromJSON(JSON.parse(bundleText));
    const entity = toSignedEntity(parsed, parsed.content.$case === 'messageSignature' ? bytes : undefined);
    verifier.verify(entity, { subjectAlternativeName: identity, extensions: { issuer } });
  };
} catch (error) {
  console.error(String(error));
  process.exit(2);
}
const timed = () => {
  const begun = process.hrtime.bigint();
  once();
  return Number(process.hrtime.bigint() - begun) / 1e6;
};
try {
  const first = timed();
  const rest = Array.from({ length: Number(runs) }, timed).sort((a, b) => a - b);
  console.log(JSON.stringify({ first, median: rest[rest.length >> 1] }));
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
