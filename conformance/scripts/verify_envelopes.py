"""Verifies the envelopes of a bundle with securesystemslib alone: both keys of a role, threshold 2.

usage: verify_envelopes.py TRUST_ROOT BUNDLE
"""

import base64
import json
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

ALGORITHMS = {"ed25519": Ed25519PublicKey, "ml-dsa-65": MLDSA65PublicKey}


def main(trust_root: str, bundle: str) -> int:
    root = json.loads(pathlib.Path(trust_root).read_bytes())
    keys = [
        SSlibKey.from_crypto(ALGORITHMS[key["algorithm"]].from_public_bytes(base64.b64decode(key["public"])), keyid)
        for keyid, key in root["keys"].items()
    ]
    files = sorted(pathlib.Path(bundle).glob("statements/*.json"))
    accepted = 0
    for path in files:
        envelope = json.loads(path.read_bytes())["envelope"]
        found = Envelope.from_dict(json.loads(json.dumps(envelope))).verify(keys, 2)
        assert len(found) == 2, path
        accepted += 1
        changed = json.loads(json.dumps(envelope))
        payload = bytearray(base64.b64decode(changed["payload"]))
        payload[len(payload) // 2] ^= 1
        changed["payload"] = base64.b64encode(payload).decode()
        try:
            Envelope.from_dict(changed).verify(keys, 2)
        except VerificationError:
            continue
        print(f"{path.name}: a changed payload was accepted")
        return 1
    print(f"{accepted} of {len(files)} envelopes accepted by securesystemslib at threshold 2; every changed one refused")
    return 0 if files and accepted == len(files) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
