"""Exits 0 when Synapse looks a room up in its database: one that is not there is answer enough."""

import json
import os
import sys
import urllib.error
import urllib.request

room = f"%23health:{os.environ['SERVER_NAME']}"
url = f"http://127.0.0.1:8008/_matrix/client/v3/directory/room/{room}"
try:
    with urllib.request.urlopen(url, timeout=8) as answer:
        json.load(answer)
except urllib.error.HTTPError as error:
    sys.exit(0 if error.code == 404 and json.load(error).get("errcode") == "M_NOT_FOUND" else 1)
