"""Bring the list of a CRM in line with the members of a segment.

Reads the user ids that the CRM has, one a line, from a file; prints what has to change. A real sync
would call the CRM instead of printing.

    python crm_sync.py DISCOUNT_30 crm_users.txt
"""

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen


def members(segment: str) -> Iterator[int]:
    """Yield the ids of the users who are in the segment now, from the CSV export."""
    url = os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080")
    headers = {"Accept": "text/csv"}
    if key := os.environ.get("SEGSVC_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = Request(f"{url}/api/v1/segments/{segment}/members", headers=headers)
    with urlopen(request) as response:
        lines = (line.decode() for line in response)
        for row in csv.DictReader(lines):
            yield int(row["user_id"])


def main(segment: str, file: str) -> None:
    """Print one line for each difference, then the numbers."""
    in_crm = {int(line) for line in Path(file).read_text().split()}
    in_segment = set(members(segment))
    for user_id in sorted(in_segment - in_crm):
        print(f"add {user_id}")
    for user_id in sorted(in_crm - in_segment):
        print(f"remove {user_id}")
    print(
        f"{len(in_segment - in_crm)} to add, {len(in_crm - in_segment)} to remove,"
        f" {len(in_segment & in_crm)} unchanged"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
