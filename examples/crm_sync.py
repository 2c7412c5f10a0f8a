"""Keep the list of a CRM in line with the members of a segment: list them once, then follow.

The CRM here is a file with one user id a line. A real sync would call the CRM in `add` and
`remove`. The cursor is in a file beside it and moves after the CRM has the change, so a change may
come twice, and none is lost. Without the file, or when the feed says that it is too old, the
members are listed again.

    python crm_sync.py DISCOUNT_30 crm_users.txt
"""

import json
import os
import sys
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080")
GONE = 410


def get(path: str, accept: str = "application/json") -> HTTPResponse:
    """Ask the service."""
    headers = {"Accept": accept}
    if key := os.environ.get("SEGSVC_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    response: HTTPResponse = urlopen(Request(f"{URL}/api/v1/segments/{path}", headers=headers))
    return response


def write(file: Path, text: str) -> None:
    """Replace a file at once."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


def main(segment: str, file: str) -> None:
    """List the members if there is no cursor, then apply one event after the other."""
    crm, cursor = Path(file), Path(f"{file}.cursor")
    users = {int(line) for line in crm.read_text().split()} if crm.exists() else set()
    while True:
        if not cursor.exists():
            with get(f"{segment}/members", "text/csv") as response:
                users = {int(line.split(b",")[0]) for line in response.readlines()[1:]}
            write(crm, "".join(f"{user_id}\n" for user_id in sorted(users)))
            write(cursor, response.headers["Events-After"])
            print(f"{len(users)} members", flush=True)
        try:
            with get(f"{segment}/events?wait=30&limit=1000&after={cursor.read_text()}") as response:
                page = json.load(response)
        except HTTPError as error:
            if error.code != GONE:
                raise
            cursor.unlink()
            continue
        for event in page["events"]:
            if event["operation"] == "add":
                users.add(event["user_id"])
            else:
                users.discard(event["user_id"])
            print(event["operation"], event["user_id"], event["cause"], flush=True)
        write(crm, "".join(f"{user_id}\n" for user_id in sorted(users)))
        write(cursor, page["next"])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
