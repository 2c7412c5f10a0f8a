"""The OpenAPI document against the service, and the page that shows the document."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from marshmallow import Schema
from openapi_spec_validator import OpenAPIV31SpecValidator

from segsvc.api.reports.months import MONTH
from segsvc.app import RESOURCES, create_app
from segsvc.console.pages import PAGES
from segsvc.db.values import MAX_USER_ID, SLUG
from segsvc.http import BASE, fields, problems
from segsvc.openapi.document import DOCUMENT as DOCUMENT_KEY
from segsvc.openapi.examples import EXAMPLES
from tests.conftest import SECRET, Client

APP = create_app("postgresql://nowhere/none", secret=SECRET)
DOCUMENT = APP[DOCUMENT_KEY].content
ROUTES = {(route.method.lower(), route.path): route for routes in RESOURCES for route in routes}
PROBLEM = "application/problem+json"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            yield method, path, described


def check(schema: dict[str, Any], value: Any) -> None:
    """Hold a value against a schema of the document."""
    Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(value)


def places(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside the document."""
    if isinstance(part, dict):
        yield part
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from places(inner)


def test_public_validator() -> None:
    """The document is OpenAPI 3.1, says a validator that is not ours."""
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_and_no_other() -> None:
    """Each route is described, and nothing else is; the pages of the console are no API."""
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in APP.router.routes()
        if route.method != "HEAD" and route.resource
    }
    pages = {(method.lower(), path) for method, path, _ in PAGES}
    assert {(method, path) for method, path, _ in operations()} == routes - pages


def test_resources_in_the_order_of_use() -> None:
    """The resources come in the order in which a reader needs them, with a sentence on each."""
    names = [tag["name"] for tag in DOCUMENT["tags"]]
    assert names == [
        "segments",
        "users",
        "members",
        "layers",
        "events",
        "reports",
        "audit",
        "OpenFeature",
        "operation",
    ]
    assert all(re.fullmatch(r"[A-Z].*\.", tag["description"]) for tag in DOCUMENT["tags"])
    used = [described["tags"] for _, _, described in operations()]
    assert used == sorted(used, key=lambda tags: names.index(tags[0]))


def test_summaries() -> None:
    """Each operation has a summary of one sentence, and no two have the same."""
    summaries = [described["summary"] for _, _, described in operations()]
    assert all(re.fullmatch(r"[A-Z].+[^.]", summary) for summary in summaries)
    assert len(set(summaries)) == len(summaries)


def test_limits_are_those_of_the_code() -> None:
    """Patterns and limits in the document are those that refuse requests."""
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["NewSegment"]["properties"]["slug"]["pattern"] == f"^{SLUG.pattern}$"
    assert schemas["NewSegment"]["properties"]["description"]["maxLength"] == fields.MAX_DESCRIPTION
    assert schemas["NewSegment"]["required"] == ["slug"]
    assert schemas["SegmentToAdd"]["properties"]["ttl"]["maximum"] == fields.MAX_TTL
    assert schemas["NewReport"]["properties"]["period"]["pattern"] == f"^{MONTH.pattern}$"
    ids = schemas["UserList"]["properties"]["user_ids"]
    assert (ids["minItems"], ids["maxItems"]) == (1, 1000)
    assert ids["items"]["maximum"] == MAX_USER_ID
    limits = [
        place["schema"] for place in places(DOCUMENT["paths"]) if place.get("name") == "limit"
    ]
    assert len(limits) == 7
    assert {(schema["maximum"], schema["default"]) for schema in limits} == {
        (fields.MAX_PAGE_SIZE, 100)
    }


def test_requests_have_examples() -> None:
    """The example of each body is valid for the service and for the document."""
    for method, path, described in operations():
        for name, media in described.get("requestBody", {}).get("content", {}).items():
            check(media["schema"], media["example"])
            if name == "application/json":
                (body,) = (b for b in ROUTES[method, path].bodies if isinstance(b, Schema))
                assert body.load(media["example"])


def test_answers_have_examples() -> None:
    """Each answer has an example that its schema accepts."""
    for method, path, described in operations():
        for response in described["responses"].values():
            for name, media in response.get("content", {}).items():
                examples = [e["value"] for e in media.get("examples", {}).values()]
                assert examples or name != PROBLEM, f"{method} {path}"
                for example in examples or [media["example"]]:
                    check(media["schema"], example)


def test_every_problem_has_an_example() -> None:
    """Each problem has an example, and a route uses it, except those before a route is found."""
    kinds = set(problems.Problem.__subclasses__())
    assert set(EXAMPLES) == kinds
    used = {
        place["value"]["type"]
        for place in places(DOCUMENT["paths"])
        if isinstance(place.get("value"), dict) and "type" in place["value"]
    }
    unused = {k.slug for k in kinds} - {name.rpartition(":")[2] for name in used}
    assert unused == {"method-not-allowed", "unsupported-expectation"}


def test_roles() -> None:
    """Each call of the API needs a key with a role, except the signed link."""
    for method, path, described in operations():
        open_to_all = not path.startswith((BASE, "/ofrep")) or path.endswith(".csv")
        reading = path.startswith((f"{BASE}/users", "/ofrep")) and (method, path) not in {
            ("post", f"{BASE}/users/{{user_id}}/segments"),
            ("delete", f"{BASE}/users/{{user_id}}"),
        }
        following = path.endswith("/events") or (method, path) == (
            "get",
            f"{BASE}/segments/{{slug}}/members",
        )
        role = "reader" if reading else "follower" if following else "editor"
        roles = [] if open_to_all else [{"key": [role]}, {}]
        assert described["security"] == roles, path
        assert ("401" in described["responses"]) is not open_to_all


JSON_CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/segments", {"slug": "A", "percent": 33.33}),
    ("POST", "/segments", {"slug": "B"}),
    ("POST", "/segments", {"slug": "B"}),
    ("POST", "/segments", {"slug": "8"}),
    ("GET", "/segments?limit=1", None),
    ("GET", "/segments/A", None),
    ("PATCH", "/segments/A", {"description": "a", "percent": None}),
    ("PATCH", "/segments/A", {"percent": 100}),
    ("PUT", "/segments/A/plan", {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": None}]}),
    ("PUT", "/segments/A/plan", {"steps": [{"at": "2024-01-01T00:00:00Z", "percent": 1}]}),
    ("PATCH", "/segments/A", {"percent": 50}),
    ("GET", "/segments/A/plan", None),
    ("GET", "/segments/A/preview?percent=12.5&at=2098-01-01T00:00:00Z", None),
    ("GET", "/segments/A/preview?percent=none", None),
    ("GET", "/segments/A/preview?percent=x", None),
    ("DELETE", "/segments/A/plan", None),
    ("PATCH", "/segments/A", {"ends_at": "2098-01-01T00:00:00Z"}),
    ("PATCH", "/segments/A", {"ends_at": "2024-01-01T00:00:00Z"}),
    ("GET", "/segments/A?at=2097-01-01T00:00:00Z", None),
    ("GET", "/segments/A/members?at=2097-01-01T00:00:00Z", None),
    ("PATCH", "/segments/A", {"ends_at": None}),
    ("POST", "/users/1000/segments", {"add": ["A", {"slug": "B", "ttl": 60}]}),
    ("POST", "/users/1000/segments", {"add": ["B"], "starts_at": "2098-01-01T00:00:00Z"}),
    ("POST", "/users/1000/segments", {"add": ["NONE"]}),
    ("POST", "/users/1000/segments", {"remove": ["A"]}),
    ("GET", "/users/1000/segments", None),
    ("GET", "/users/0/segments", None),
    ("POST", "/users/segments", {"user_ids": [1, 1000]}),
    ("POST", "/users/segments", {"user_ids": [1], "at": "2098-01-01T00:00:00Z"}),
    ("GET", "/users/1000/segments?at=2098-01-01T00:00:00Z", None),
    ("GET", "/users/1000/memberships", None),
    ("GET", "/users/1000/history?limit=1", None),
    ("GET", "/segments/B/members", None),
    ("GET", "/segments/NONE/members", None),
    ("POST", "/reports", {"period": "2024-02"}),
    ("GET", "/reports/2024-02.csv", None),
    ("POST", "/layers", {"slug": "L", "segments": ["A", "B"]}),
    ("POST", "/layers", {"slug": "L", "segments": ["A"]}),
    ("POST", "/layers", {"slug": "M", "segments": ["NONE"]}),
    ("GET", "/layers", None),
    ("GET", "/layers/L", None),
    ("GET", "/layers/L?at=2099-01-01T00:00:00Z", None),
    ("GET", "/layers/NONE", None),
    ("PATCH", "/layers/L", {"percents": {"A": 20, "B": 30}}),
    ("PATCH", "/layers/L", {"percents": {"A": 71}}),
    ("PATCH", "/layers/L", {"remove": ["B"]}),
    ("GET", "/segments/A", None),
    ("DELETE", "/layers/L", None),
    ("DELETE", "/layers/L?redeal=true", None),
    ("GET", "/segments?sort=members&q=a", None),
    ("GET", "/segments?sort=size", None),
    ("GET", "/segments/A/stats?step=week", None),
    ("GET", "/segments/A/stats?from=2098-01-01T00:00:00Z", None),
    ("PUT", "/segments/B/members", {"from": {"any_of": ["A"]}}),
    ("PUT", "/segments/B/members", {"from": {"all_of": ["B"], "none_of": ["B"]}}),
    ("PUT", "/segments/B/members?dry_run=true&on_conflict=skip", {"from": {"all_of": ["A"]}}),
    ("POST", "/segments/B/members/add", {"from": {"any_of": ["NONE"]}}),
    ("POST", "/segments", {"slug": "C", "from": {"any_of": ["A"]}}),
    ("GET", "/events", None),
    ("GET", "/events?after=now&segment=A,B&limit=10&wait=0", None),
    ("GET", "/events?wait=x", None),
    ("GET", "/segments/A/events?after=2024-01-01T00:00:00Z", None),
    ("GET", "/segments/NONE/events", None),
    ("DELETE", "/users/1000", None),
    ("DELETE", "/users/0", None),
    ("GET", "/audit?limit=3", None),
    ("GET", "/audit?slug=1", None),
    ("DELETE", "/segments/B", None),
]


async def test_real_answers_are_as_described(client: Client) -> None:
    """The answers of all calls are as the document says."""
    seen = set()
    for method, path, body in JSON_CALLS:
        seen.add(await described_answer(client, method, BASE + path, json=body))
    csv = {"data": b"1\n2\n", "headers": {"Content-Type": "text/csv"}}
    bad = {"data": b"one\n", "headers": {"Content-Type": "text/csv"}}
    for method, way in (("POST", "/add"), ("POST", "/remove"), ("PUT", "")):
        path = f"{BASE}/segments/A/members{way}"
        seen.add(await described_answer(client, method, path, **csv))
        await described_answer(client, method, path, **bad)
    for path in ("/ofrep/v1/evaluate/flags/A", "/ofrep/v1/evaluate/flags"):
        for context in ({"targetingKey": "1000"}, {"targetingKey": "x"}, {}):
            sent = {"json": {"context": context}}
            seen.add(await described_answer(client, "POST", path, **sent))
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/start.js"):
        seen.add(await described_answer(client, "GET", path))
    assert seen == {(method, path) for method, path, _ in operations()}


async def described_answer(client: Client, method: str, path: str, **sent: Any) -> tuple[str, str]:
    """Send a request, check its answer against the document, and return the operation."""
    response = await client.request(method, path, **sent)
    name = f"{method} {path}: {response.status}"
    (template,) = {
        template
        for template, methods in DOCUMENT["paths"].items()
        if method.lower() in methods
        and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0])
    } - ({f"{BASE}/users/{{user_id}}/segments"} if path == f"{BASE}/users/segments" else set())
    answer = DOCUMENT["paths"][template][method.lower()]["responses"].get(str(response.status))
    assert answer, name
    if "content" in answer:
        assert response.content_type in answer["content"], name
        if "json" in response.content_type:
            check(answer["content"][response.content_type]["schema"], await response.json())
    return method.lower(), template


async def test_description_is_cached(client: Client) -> None:
    """A client that has the document gets 304."""
    first = await client.get("/openapi.json")
    assert (await first.json())["openapi"] == "3.1.0"
    again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


async def test_page_is_served_from_here(client: Client) -> None:
    """The page needs nothing from other hosts, and its policy allows nothing else."""
    page = await client.get("/docs")
    assert page.content_type == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert "unsafe" not in policy
    text = await page.text()
    assert "<script>" not in text
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(named) == 5
    for name in named:
        part = await client.get(f"/{name}")
        assert part.status == 200, name
        if name.startswith("docs/"):
            assert part.headers["Cache-Control"].startswith("public"), name
            assert part.headers["X-Content-Type-Options"] == "nosniff"
            kept = {"If-None-Match": part.headers["ETag"]}
            assert (await client.get(f"/{name}", headers=kept)).status == 304


@pytest.mark.parametrize("name", ["index.html", "..%2f__init__.py", "docs.html"])
async def test_page_has_no_other_files(client: Client, name: str) -> None:
    """Only the files that the page names are served under it."""
    assert (await client.get(f"/docs/{name}")).status == 404
