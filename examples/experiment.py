"""Start an experiment: a segment that takes a percentage of all users, and the users of a file.

    python experiment.py CHECKOUT_V2 10 testers.csv

Prints the size of the segment and the link to the report of this month. Running it again is safe.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CONFLICT = 409


def call(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    """Send a request to the service and return the JSON of the response."""
    url = os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080")
    headers = {"Content-Type": kind}
    if key := os.environ.get("SEGSVC_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    with urlopen(Request(f"{url}/api/v1{path}", body, headers, method=method)) as response:
        return json.load(response)


def main(slug: str, percent: str, file: str) -> None:
    """Create the segment, add the users of the file, and print what came of it."""
    segment = {"slug": slug, "percent": float(percent), "description": "an experiment"}
    try:
        call("POST", "/segments", json.dumps(segment).encode())
    except HTTPError as error:
        if error.code != CONFLICT:  # the segment exists: set its percentage
            sys.exit(f"{error.code}: {json.load(error)['detail']}")
        call("PATCH", f"/segments/{slug}", json.dumps({"percent": float(percent)}).encode())
    counts = call("POST", f"/segments/{slug}/members/add", Path(file).read_bytes(), "text/csv")
    print(f"{counts['changed']} users added, {counts['unchanged']} were in by hand already")
    size = call("GET", f"/segments/{slug}")["members"]
    print(f"{size} users are in by hand, and {percent} % of all users automatically")
    month = {"period": f"{datetime.now(UTC):%Y-%m}"}
    print("report:", call("POST", "/reports", json.dumps(month).encode())["url"])


if __name__ == "__main__":
    main(*sys.argv[1:])
