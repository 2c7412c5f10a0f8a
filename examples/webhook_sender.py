"""Send a webhook for each user who enters or leaves a segment, signed as Standard Webhooks says.

The cursor in the file moves after the receiver has answered 2xx: an event may be sent twice, with
the same `webhook-id`, and none is lost. Events are sent in order; one that the receiver refuses is
sent again, after a second at first, and after a minute at most.

    WEBHOOK_SECRET=whsec_... python webhook_sender.py https://crm.example/hooks sender.cursor
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

FEED = os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080") + "/api/v1/events"
LONGEST_PAUSE = 60
GONE = 410


def send(make: Callable[[], Request]) -> bytes:
    """Send a request, made anew each time, until it is answered 2xx; return the answer."""
    pause = 1
    while True:
        request = make()
        try:
            with urlopen(request, timeout=60) as response:
                body: bytes = response.read()
                return body
        except (OSError, HTTPException) as error:
            print(f"{request.full_url}: {error}", file=sys.stderr, flush=True)
            # The receiver wants no more, or the feed refuses the cursor or the key.
            final = {GONE} if request.data else range(400, 500)
            if isinstance(error, HTTPError) and error.code in final:
                sys.exit(error.read().decode())
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def signed(event: dict[str, Any], target: str, secret: bytes) -> Request:
    """Return the webhook of an event, signed for now: receivers refuse signatures that are old."""
    kind = f"segment.{event['operation']}"
    body = json.dumps({"type": kind, "timestamp": event["at"], "data": event}).encode()
    sent_at = str(int(time.time()))
    content = b".".join([event["id"].encode(), sent_at.encode(), body])
    signature = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event["id"],
        "webhook-timestamp": sent_at,
        "webhook-signature": f"v1,{signature}",
    }
    return Request(target, body, headers)


def main(target: str, file: str) -> None:
    """Send one event after the other, from where the file says, or from now on."""
    secret = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
    key = os.environ.get("SEGSVC_KEY")
    cursor = Path(file)
    after = cursor.read_text().strip() if cursor.exists() else "now"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    while True:
        page = json.loads(send(partial(Request, f"{FEED}?wait=30&after={after}", headers=headers)))
        for event in page["events"]:
            send(partial(signed, event, target, secret))
            print(f"sent {event['id']}", flush=True)
            after = save(cursor, event["id"])
        after = save(cursor, page["next"])


def save(cursor: Path, after: str) -> str:
    """Replace the cursor at once, and return it."""
    new = cursor.with_name(f"{cursor.name}.new")
    new.write_text(after)
    new.replace(cursor)
    return after


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
