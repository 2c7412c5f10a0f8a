"""What the pages show in a browser: segments with members, percentages, plans and a layer."""

import json
from typing import Any
from urllib.request import Request, urlopen


def send(url: str, method: str, path: str, body: Any) -> None:
    """Send JSON, or a file of user ids."""
    is_file = isinstance(body, str)
    content, kind = (body, "text/csv") if is_file else (json.dumps(body), "application/json")
    headers = {"Content-Type": kind}
    request = Request(  # noqa: S310 (our own address)
        f"{url}/api/v1{path}", content.encode(), headers, method=method
    )
    with urlopen(request) as response:  # noqa: S310 (see above)
        response.read()


def seed(url: str) -> None:
    """Fill a new service."""
    for slug, percent, description in (
        ("VOICE_MESSAGES", 10, "May send voice messages"),
        ("PERFORMANCE_VAS", None, "<script>alert('x')</script> & \"quotes\""),
        ("DISCOUNT_30", None, "30 % off everything until the end of the year " * 20),
        ("DISCOUNT_50", 5, "Half price"),
    ):
        body = {"slug": slug, "percent": percent, "description": description}
        send(url, "POST", "/segments", body)
    for number in range(60):
        send(url, "POST", "/segments", {"slug": f"{'EXPERIMENT' * 6}_{number}", "percent": number})
    send(url, "POST", "/segments/PERFORMANCE_VAS/members/add", "1000\n1001\n1002\n")
    everybody = "".join(f"{number}\n" for number in range(900, 3000))
    send(url, "POST", "/segments/DISCOUNT_30/members/add", everybody)
    layer = {"slug": "DISCOUNTS", "segments": ["DISCOUNT_30", "DISCOUNT_50"], "redeal": True}
    send(url, "POST", "/layers", layer)
    send(url, "PATCH", "/layers/DISCOUNTS", {"percents": {"DISCOUNT_30": 30, "DISCOUNT_50": 20}})
    path = "/users/1000/segments"
    send(url, "POST", path, {"add": ["DISCOUNT_50"], "ttl": 7200, "on_conflict": "suspend"})
    send(url, "POST", path, {"remove": ["PERFORMANCE_VAS"]})
    send(url, "POST", path, {"add": ["PERFORMANCE_VAS"], "starts_at": "2098-01-01T00:00:00Z"})
    steps = [{"at": f"2098-01-0{day}T09:00:00Z", "percent": day * 10} for day in range(2, 9)]
    send(url, "PUT", "/segments/VOICE_MESSAGES/plan", {"steps": steps})
