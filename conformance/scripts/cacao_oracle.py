"""What PyPI's jsonschema says of playbooks.

Standard input is JSON lines: first an object of schemas by path, then one playbook a line. Standard output is one
line for each playbook: the JSON pointers of its errors, an empty list where it is valid.
"""

import json
import sys

import jsonschema.validators
import referencing


def pointer(path):
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


lines = sys.stdin
schemas = json.loads(next(lines))
registry = referencing.Registry().with_contents((schema["$id"], schema) for schema in schemas.values())
root = schemas["playbook.json"]
validator = jsonschema.validators.validator_for(root)(root, registry=registry)
for line in lines:
    paths = sorted({pointer(error.absolute_path) for error in validator.iter_errors(json.loads(line))})
    print(json.dumps(paths))
