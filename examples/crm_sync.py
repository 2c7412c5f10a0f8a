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
import time
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080")
GONE = 410
SERVER_ERROR = 500


def get(path: str, accept: str = "application/json") -> HTTPResponse:
    """Ask the service."""
    headers = {"Accept": accept}
    if key := os.environ.get("SEGSVC_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = Request(f"{URL}/api/v1/segments/{path}", headers=headers)
    response: HTTPResponse = urlopen(request, timeout=90)
    return response


def write(file: Path, text: str) -> None:
    """Replace a file at once."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


def list_members(segment: str, crm: Path, cursor: Path) -> None:
    """Replace the list of the CRM by the members."""
    with get(f"{segment}/members", "text/csv") as response:
        users = [int(line.split(b",")[0]) for line in response.readlines()[1:]]
    after = response.headers["Events-After"]
    if not after:
        raise OSError("the feed cannot be followed at the moment")
    write(crm, "".join(f"{user_id}\n" for user_id in users))
    write(cursor, after)
    print(f"{len(users)} members", flush=True)


def follow(segment: str, crm: Path, cursor: Path) -> None:
    """Apply the next events to the list of the CRM."""
    with get(f"{segment}/events?wait=30&limit=1000&after={cursor.read_text()}") as response:
        page = json.load(response)
    users = {int(line) for line in crm.read_text().split()}
    for event in page["events"]:
        if event["operation"] == "add":
            users.add(event["user_id"])
        else:
            users.discard(event["user_id"])
        print(event["operation"], event["user_id"], event["cause"], flush=True)
    write(crm, "".join(f"{user_id}\n" for user_id in sorted(users)))
    write(cursor, page["next"])


def main(segment: str, file: str) -> None:
    """List the members if there is no cursor, then follow; go on when the service was away."""
    crm, cursor = Path(file), Path(f"{file}.cursor")
    while True:
        try:
            if cursor.exists():
                follow(segment, crm, cursor)
            else:
                list_members(segment, crm, cursor)
        except HTTPError as error:
            if error.code == GONE:
                cursor.unlink()
            elif error.code < SERVER_ERROR:
                raise
            time.sleep(1)
        except OSError as error:
            print(f"no answer: {error}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
