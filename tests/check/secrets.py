"""Looks for secrets in what was printed.

    secrets.py SENTINELS LENGTH OUTPUT... -- RECORD...

SENTINELS is a file of texts that no OUTPUT may hold, a line each, and LENGTH a number that none may hold: how long the
secrets' value is. Each RECORD is a stand-in's record of requests: no part of a token that was sent in one of them may
be in an OUTPUT, either. Prints what was found, and how much was looked for.
"""

import json
import re
import sys
import urllib.parse
from pathlib import Path

sentinels, length, *files = sys.argv[1:]
outputs = files[: files.index("--")]
records = files[files.index("--") + 1 :]

hidden = set(Path(sentinels).read_text().split("\n")) - {""}
tokens = set()
for record in records:
    for line in Path(record).read_text().splitlines():
        request = json.loads(line)
        for name, value in request["headers"]:
            if name.lower() == "authorization":
                tokens.add(value.removeprefix("Bearer "))
        for field in ("client_assertion", "client_secret"):
            tokens.update(urllib.parse.parse_qs(request["body"] or "").get(field, []))
assert tokens, "no token was ever sent"
# Header and payload of a JWT are base64 of JSON; nothing else starts so.
hidden.add("eyJ")
hidden.update(part for token in tokens for part in token.split(".") if len(part) > 16)

found = []
for output in outputs:
    text = Path(output).read_text()
    found += [f"{output} holds {secret[:40]}..." for secret in hidden if secret in text]
    # Ids and times hold any number.
    numbers = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\(\d+ ms\)|\"ms\":\d+", "", text)
    if re.search(rf"\b{length}\b", numbers):
        found.append(f"{output} holds the length of a value")
print(*found, f"{len(hidden)} texts were looked for in {len(outputs)} outputs", sep="\n")
sys.exit(bool(found))
