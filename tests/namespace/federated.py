"""Follows a federated token through the record of the stand-in for Azure.

    federated.py DIRECTORY

The last two requests in DIRECTORY/requests.jsonl must be one to Entra that shows the service account's token, and one
to the vault with an access token that was issued to the application in workload.env.
"""

import base64
import json
import sys
import urllib.parse
from pathlib import Path

azure = Path(sys.argv[1])
login, vault = [json.loads(line) for line in (azure / "requests.jsonl").read_text().splitlines()[-2:]]
assert (login["endpoint"], vault["endpoint"]) == ("login", "vault"), (login, vault)

application = dict(line.split("=", 1) for line in (azure / "workload.env").read_text().splitlines())
form = urllib.parse.parse_qs(login["body"])
assert form["client_assertion"] == [(azure / "token.jwt").read_text().strip()], form
assert form["client_id"] == [application["AZURE_CLIENT_ID"]], form

bearer = next(value for name, value in vault["headers"] if name.lower() == "authorization")
claims = bearer.removeprefix("Bearer ").split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
assert claims["appid"] == application["AZURE_CLIENT_ID"], claims
