"""The forms as a browser sends them: what they change, what they refuse, and who may use them."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import FormData
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.console.pages import PAGES
from segsvc.db.pool import Connection
from tests.api_calls import attempt, call, change, create, members, read, read_many
from tests.conftest import SECRET, Client
from tests.console.test_pages import HTML, get
from tests.histories import put_in


async def post(
    client: Client, path: str, status: int = 303, fields: dict[str, str] | None = None, **more: str
) -> str:
    """Send a form; return where it leads, or the page that refuses it."""
    return await post_raw(client, path, status, [*(fields or {}).items(), *more.items()])


async def post_raw(client: Client, path: str, status: int, fields: list[tuple[str, Any]]) -> str:
    """Send a form whose fields may be repeated."""
    response = await client.post(path, data=FormData(fields), allow_redirects=False)
    text = await response.text()
    assert response.status == status, (path, text)
    return response.headers["Location"] if status == 303 else text


async def send_file(
    client: Client, slug: str, body: bytes, status: int = 200, **fields: str
) -> str:
    """Send a file of members with the form of a segment; return the page."""
    form = FormData()
    do = fields.pop("do", "save")
    for name, value in ({"operation": "add"} | fields).items():
        form.add_field(name, value)
    form.add_field("file", body, filename=HTML, content_type="text/csv")
    response = await client.post(f"/console/segments/{slug}/file?do={do}", data=form)
    text = await response.text()
    assert response.status == status, text
    return text


def numbers(text: str) -> list[int]:
    """Return the numbers that a page shows as facts."""
    return [int(re.sub(r"\D", "", n)) for n in re.findall(r"<dd>([\d\s]+)</dd>", text)]


async def segment(client: Client, slug: str) -> Any:
    """Return what the API says of a segment."""
    return await call(client, "GET", f"/segments/{slug}")


async def test_a_segment_from_its_creation_to_its_end(client: Client) -> None:
    """A segment is created, described, planned to end, and deleted; each change is recorded."""
    path = await post(
        client, "/console/new-segment", slug="VOICE", description=HTML, percent="12,5"
    )
    assert path == "/console/segments/VOICE"
    text = await get(client, path)
    assert "VOICE was created." in text
    assert HTML not in text
    assert "was created" not in await get(client, path)
    found = await segment(client, "VOICE")
    assert (found["percent"], found["description"]) == (12.5, HTML)

    end = {"ends_at": "2098-01-01T00:00", "ends_at_before": ""}
    end["description_before"] = HTML
    await post(client, "/console/segments/VOICE/edit", description="", fields=end)
    found = await segment(client, "VOICE")
    assert (found["description"], found["ends_at"]) == ("", "2098-01-01T00:00:00.000000Z")
    same = {"ends_at": "2098-01-01T00:00", "ends_at_before": "2098-01-01T00:00:00.000"}
    await post(client, "/console/segments/VOICE/edit", description="New", fields=same)
    assert (await segment(client, "VOICE"))["ends_at"] == found["ends_at"]
    lifted = {"ends_at": "", "ends_at_before": "2098-01-01T00:00"}
    await post(client, "/console/segments/VOICE/edit", description="New", fields=lifted)
    assert (await segment(client, "VOICE"))["ends_at"] is None

    await put_in(client, "VOICE", 1, 2, 3)
    counted = (await call(client, "GET", "/segments/VOICE/stats?step=hour"))["stats"][-1]["members"]
    assert f"{counted} users leave" in await get(client, "/console/segments/VOICE/delete")
    assert await post(client, "/console/segments/VOICE/delete") == "/console/segments"
    await call(client, "GET", "/segments/VOICE", 404)
    actions = [e["action"] for e in (await call(client, "GET", "/audit"))["entries"]]
    assert sorted(actions) == sorted(
        ["segment.create", *["segment.change"] * 3, "members.add", "segment.delete"]
    )


async def test_percentage_with_its_preview(client: Client) -> None:
    """The numbers before a percentage is saved are what happens then; a plan is kept or not."""
    await create(client, "HALF", 10)
    await read_many(client, range(1, 401))
    before = {each["user_id"] for each in await members(client, "HALF")}
    enter, leave = numbers(await get(client, "/console/segments/HALF/percent?percent=50"))
    assert await post(client, "/console/segments/HALF/percent", percent="50")
    after = {each["user_id"] for each in await members(client, "HALF")}
    assert (enter, leave) == (len(after - before), len(before - after))
    assert enter > 100
    steps = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 75}]}
    await call(client, "PUT", "/segments/HALF/plan", json=steps)
    text = await post(client, "/console/segments/HALF/percent", 409, percent="20")
    assert 'value="keep"' in text
    assert (await segment(client, "HALF"))["percent"] == 50
    await post(client, "/console/segments/HALF/percent", percent="none", plan="keep")
    assert (await segment(client, "HALF"))["percent"] is None
    assert len((await call(client, "GET", "/segments/HALF/plan"))["steps"]) == 1
    for wrong in ("101", "1.234", "x", "-1", "1e1"):
        assert "must be" in await get(client, f"/console/segments/HALF/percent?percent={wrong}")
        await post(client, "/console/segments/HALF/percent", 422, percent=wrong, plan="keep")


async def test_plan(client: Client) -> None:
    """A plan is drawn, saved as rows, kept exactly, and not over the plan of somebody else."""
    await create(client, "HALF", 10)
    exact = "2098-01-01T00:00:00.123456Z"
    steps = {"steps": [{"at": exact, "percent": 75}]}
    await call(client, "PUT", "/segments/HALF/plan", json=steps)
    path = "/console/segments/HALF/plan"
    text = await get(client, path)
    (etag,) = re.findall(r'name="etag" value="(\w+)"', text)
    (first, *_) = re.findall(r'name="at" [^>]*value="([^"]*)"', text)
    rows = [("etag", etag), ("at", first), ("percent", "75"), ("at", ""), ("percent", "")]
    rows += [("at", "2098-01-02T10:00"), ("percent", "80,5")]
    drawn = await post_raw(client, path, 200, [*rows, ("do", "show")])
    assert "80.5" in drawn
    assert drawn.count("<circle") == 2
    assert len((await call(client, "GET", "/segments/HALF/plan"))["steps"]) == 1
    await post_raw(client, path, 303, [*rows, ("do", "save")])
    stored = (await call(client, "GET", "/segments/HALF/plan"))["steps"]
    assert [(step["at"], step["percent"]) for step in stored] == [
        (exact, 75),
        ("2098-01-02T10:00:00.000000Z", 80.5),
    ]
    assert "changed the plan" in await post_raw(client, path, 412, [*rows, ("do", "save")])

    for lost in ([("etag", etag)], [*rows, ("at", "2098-01-03T10:00")]):
        await post_raw(client, path, 422, [*lost, ("do", "save")])
    assert len((await call(client, "GET", "/segments/HALF/plan"))["steps"]) == 2

    ramp = await get(client, f"{path}?first=2098-01-01T00:00&low=5&high=100&count=3&hours=12")
    found = re.findall(r'name="at" [^>]*value="([^"]+)"', ramp)
    assert found == ["2098-01-01T00:00", "2098-01-01T12:00", "2098-01-02T00:00"]
    assert re.findall(r'name="percent" value="([^"]+)"', ramp) == ["5", "52.5", "100"]
    for wrong in (
        "count=1",
        "count=1e9",
        "hours=0",
        "hours=x",
        "first=x",
        "first=9999-12-31T23:59",
    ):
        given = {"first": "2098-01-01T00:00", "low": "5", "high": "100", "count": "3", "hours": "9"}
        name, _, value = wrong.partition("=")
        assert 'role="alert"' in await get(client, path, params=given | {name: value}), wrong


async def test_one_member(client: Client) -> None:
    """A user is put in with a start and an end, and taken out; in a layer, with a choice."""
    await create(client, "VOICE")
    path = await post(client, "/console/membership", user_id="7", slug="VOICE", days="2", do="add")
    assert path == "/console/segments/VOICE"
    assert await read(client, 7) == ["VOICE"]
    assert "User 7 was added" in await get(client, path)
    back = await post(
        client, "/console/membership", user_id="7", slug="VOICE", do="remove", back="user"
    )
    assert back == "/console/users/7"
    assert await read(client, 7) == []
    await post(
        client, "/console/membership", user_id="7", slug="VOICE", do="add",
        starts_at="2098-01-01T00:00", expires_at="2098-02-01T00:00:30",
    )  # fmt: skip
    planned = (await call(client, "GET", "/users/7/memberships"))["upcoming"]
    assert planned[0]["expires_at"] == "2098-02-01T00:00:30.000000Z"
    for wrong in ({"user_id": "0"}, {"slug": "-"}, {"slug": "NONE"}, {"days": "x"},
                  {"starts_at": "2020-01-01T00:00"}, {"expires_at": "x"}):  # fmt: skip
        given = {"user_id": "7", "slug": "VOICE", "do": "add"} | wrong
        text = await post(client, "/console/membership", 422, given)
        assert 'role="alert"' in text
    await create(client, "OTHER")
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["VOICE", "OTHER"]})
    await change(client, 8, add=["VOICE"])
    given = {"user_id": "8", "slug": "OTHER", "do": "add"}
    assert 'value="move"' in await post(client, "/console/membership", 409, given)
    await post(client, "/console/membership", fields=given, on_conflict="move")
    assert await read(client, 8) == ["OTHER"]


async def test_files(client: Client) -> None:
    """A file is counted first, then saved, with the same counts; bad lines have their numbers."""
    await create(client, "VOICE")
    await put_in(client, "VOICE", 1, 2)
    body = b"user_id\n2\n3\n4\n"
    for do, size in (("count", 2), ("save", 4)):
        assert numbers(await send_file(client, "VOICE", body, do=do)) == [3, 2, 1]
        assert len(await members(client, "VOICE")) == size
    assert numbers(await send_file(client, "VOICE", b"2\n9\n", operation="remove")) == [2, 1, 1]
    assert numbers(await send_file(client, "VOICE", b"1\n5\n", operation="replace")) == [2, 1, 2, 1]
    assert [each["user_id"] for each in await members(client, "VOICE")] == [1, 5]
    form = FormData([("operation", "replace")])
    form.add_field("file", b"9\n", filename="f")
    form.add_field("do", "save")  # a button comes last, and too late
    response = await client.post("/console/segments/VOICE/file", data=form)
    assert "Nothing was changed" in await response.text()
    text = await send_file(client, "VOICE", b"6\nx<b>\n7\n-1\n", 422)
    assert "line 2 must" in text
    assert "line 4 must" in text
    assert "<b>" not in text
    assert "no users" in await send_file(client, "VOICE", b"", 422, operation="replace")
    assert "workbook" in await send_file(client, "VOICE", b"PK\x03\x04...", 422)
    await send_file(client, "VOICE", b"1\n", 422, operation="none")
    await send_file(client, "NONE", b"1\n", 404)
    assert len(await members(client, "VOICE")) == 2
    await send_file(client, "VOICE", b"", operation="replace", allow_empty="true")
    assert await members(client, "VOICE") == []


async def test_bodies_that_are_no_form(client: Client) -> None:
    """A body that is not the form of a page is refused, and says why."""
    await create(client, "VOICE")
    path, kind = "/console/segments/VOICE/file", "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    for body, content_type, status in (
        (b"1\n", "text/csv", 415),
        (b"", kind, 400),
        (b"--x--\r\n", kind, 422),
        (b"1", "multipart/form-data", 400),
        (part + b"1", kind, 400),
        (part.replace(b'"a"', b'"_charset_"') + b"u" * 40 + b"\r\n--x--\r\n", kind, 400),
        (part.replace(b'"a"', b'"operation"') + b"add\r\n" + file + b"1\n2\n", kind, 400),
        (file.replace(b"\r\n\r\n", b"\r\nContent-Length: 90\r\n\r\n") + b"1", kind, 422),
        (part + b"1\r\n--x--\r\n", kind, 422),
        (part + b"1" * 10_000 + b"\r\n--x--\r\n", kind, 413),
        ((part + b"1\r\n") * 30 + b"--x--\r\n", kind, 422),
        (
            part.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n"),
            kind,
            400,
        ),
    ):
        headers = {"Content-Type": content_type}
        response = await client.post(path, data=body, headers=headers)
        text = await response.text()
        assert response.status == status, (body[:80], text)
        assert 'role="alert"' in text
    for body in (b"slug=%FF", b"a=1&" * 600):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await client.post("/console/new-segment", data=body, headers=headers)
        assert response.status == 422, await response.text()
        await response.read()


async def test_sets(client: Client) -> None:
    """A set is counted, makes a segment, and changes one, after a dry run."""
    for slug in ("A", "B"):
        await create(client, slug)
    await put_in(client, "A", 1, 2, 3, 4)
    await put_in(client, "B", 3, 4, 5)
    assert "2 users" in await get(client, "/console/sets?any_of=A&none_of=B")
    chosen = {"any_of": "A", "none_of": "B"}
    path = await post(
        client, "/console/sets", fields=chosen, operation="create", slug="C", do="save"
    )
    assert "2 users were changed in C" in await get(client, path)
    both = {"any_of": "A, B", "operation": "replace", "slug": "C"}
    assert numbers(await post(client, "/console/sets", 200, both, do="count")) == [5, 3, 0, 2]
    assert len(await members(client, "C")) == 2
    await post(client, "/console/sets", fields=both, do="save")
    assert len(await members(client, "C")) == 5
    for wrong in (
        "any_of=NONE",
        "any_of=-",
        "none_of=A",
        "any_of=A&at=2098-01-01T00:00",
        "any_of=A&at=x",
    ):
        text = await get(client, f"/console/sets?{wrong}")
        assert 'role="alert"' in text, wrong


async def test_layers(client: Client) -> None:
    """A layer is formed, changed and dissolved, with those in several of its segments counted."""
    for slug, percent in (("A", 10), ("B", 20), ("C", None)):
        await create(client, slug, percent)
    await put_in(client, "A", *range(1, 101))
    await put_in(client, "C", *range(91, 121))
    shared = {"slug": "L", "segments": "A C"}
    text = await post(client, "/console/new-layer", 200, shared, do="count")
    inside = [{each["user_id"] for each in await members(client, slug)} for slug in ("A", "C")]
    assert f"A: {len(inside[0] & inside[1])} users" in text
    assert (await call(client, "GET", "/layers"))["layers"] == []
    await post(client, "/console/new-layer", fields=shared, do="save")
    given = {"percent.A": "15", "before.A": "10", "add": "B"}
    text = await post(client, "/console/layers/L", 200, given, do="count")
    assert "would enter B" in text
    assert "would enter B" in await post(client, "/console/layers/L", 409, given, do="save")
    await post(client, "/console/layers/L", fields=given, redeal="true", do="save")
    layer = await call(client, "GET", "/layers/L")
    assert {s["slug"]: s["percent"] for s in layer["segments"]} == {"A": 15, "B": 20, "C": None}
    rest = {"percent.A": "15", "before.A": "15", "percent.B": "20", "before.B": "20"}
    await post(client, "/console/layers/L", fields=rest | {"remove": "C"}, do="save")
    await post(client, "/console/layers/L", 409, fields=rest | {"percent.A": "95"}, do="save")
    assert "would" in await get(client, "/console/layers/L/dissolve")
    await post(client, "/console/layers/L/dissolve")
    assert (await call(client, "GET", "/layers"))["layers"] == []
    await call(client, "PATCH", "/segments/A", json={"percent": 40})
    await post(client, "/console/new-layer", slug="M", segments="A", do="save")
    stale = {"percent.A": "15", "before.A": "15", "add": "C", "do": "save"}
    await post(client, "/console/layers/M", fields=stale)
    layer = await call(client, "GET", "/layers/M")
    assert {s["slug"]: s["percent"] for s in layer["segments"]} == {"A": 40, "C": None}
    sent = stale | {"percent.A": "", "before.A": "15", "remove": "C", "do": "count"}
    text = await post(client, "/console/layers/M", 422, fields=sent)
    assert 'name="before.A" value="15"' in text
    assert 'value="C" checked' in text
    await post(client, "/console/new-layer", 422, slug="M", segments="A A NONE")
    await post(client, "/console/new-layer", 422, slug="M", segments="")


async def test_erasure_and_reports(client: Client) -> None:
    """A user is erased once the id was typed again; the link of a report downloads it."""
    await create(client, "VOICE")
    await change(client, 7, add=["VOICE"])
    (month,) = re.findall(
        r'name="period" [^>]*value="([\d-]+)"', await get(client, "/console/report")
    )
    text = await post(client, "/console/report", 200, period=month, user_id="7")
    (link,) = re.findall(r'href="(/api/v1/reports/[^"]+)"', text)
    assert (await get(client, link.replace("&amp;", "&"))).startswith("7;VOICE;add;")
    for wrong in ({"period": "2098-01"}, {"period": "x"}, {"period": month, "user_id": "x"}):
        await post(client, "/console/report", 422, wrong)
    await post(client, "/console/users/7/erase", 422, again="8")
    assert await read(client, 7) == ["VOICE"]
    await post(client, "/console/users/7/erase", again="7")
    assert await read(client, 7) == []
    await get(client, "/console/users/0/erase", 404)


KEYS = {"rita": Role.READER, "fred": Role.FOLLOWER, "ann": Role.EDITOR}


@pytest.fixture
async def keys(conn: Connection) -> dict[str, str]:
    """A key of each role."""
    made = {name: await store.create(conn, name, role) for name, role in KEYS.items()}
    return {name: key for name, key in made.items() if key}


@pytest.fixture
async def guarded(aiohttp_client: AiohttpClient, dsn: str, keys: dict[str, str]) -> Client:
    """A service with keys, filled by an editor."""
    client = await aiohttp_client(create_app(dsn, secret=SECRET))
    headers = {"Authorization": f"Bearer {keys['ann']}"}
    for slug in ("VOICE", "OTHER"):
        await call(client, "POST", "/segments", 201, json={"slug": slug}, headers=headers)
    layer = {"slug": "L", "segments": ["VOICE", "OTHER"]}
    await call(client, "POST", "/layers", 201, json=layer, headers=headers)
    body, path = {"add": ["VOICE"]}, "/users/5/segments"
    await call(client, "POST", path, json=body, headers=headers)
    return client


async def sign_in(client: Client, key: str) -> None:
    """Begin a session."""
    await post(client, "/console/sign-in", key=key)


@pytest.mark.parametrize("name", KEYS)
async def test_pages_offer_what_is_allowed(
    guarded: Client, keys: dict[str, str], name: str
) -> None:
    """Nothing on the pages of a reader answers 403; forms that are not there are refused."""
    await sign_in(guarded, keys[name])
    paths, seen = ["/console/segments", "/console/users/5"], set[str]()
    forms = set[str]()
    while paths:
        path = paths.pop()
        if path in seen:
            continue
        seen.add(path)
        text = await get(guarded, path, 303 if "/language/" in path else 200)
        for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", text, re.DOTALL):
            forms |= set(re.findall(r'^<form[^>]* action="([^"]+)"', form)) or {path}
        paths += [
            found.replace("&amp;", "&")
            for found in re.findall(r'(?:href|data-load)="(/console/[^"#]*)', text)
            if "/static/" not in found
        ]
    assert len(seen) > 8
    if name != "ann":
        assert forms == {"/console/sign-out"}
    assert any("members.csv" in path for path in seen) == (name != "rita")
    posts = [path for method, path, _ in PAGES if method == "POST" and "sign-" not in path]
    assert len(posts) > 12
    if name != "ann":
        for path in posts:
            for field, value in {"slug": "VOICE", "user_id": "5", "name": "ann"}.items():
                path = path.replace(f"{{{field}}}", value)  # noqa: PLW2901 (the same path)
            await post(guarded, path, 403, slug="X")
    else:
        assert len(forms) > 10


async def test_forms_of_other_origins(guarded: Client, keys: dict[str, str]) -> None:
    """A form that another site sends with the cookie of an editor is refused, on every page."""
    await sign_in(guarded, keys["ann"])
    for method, path, _ in PAGES:
        if method == "POST":
            address = (
                path.replace("{slug}", "VOICE").replace("{user_id}", "5").replace("{name}", "ann")
            )
            for headers in (
                {"Sec-Fetch-Site": "cross-site"},
                {"Origin": "https://elsewhere.example"},
                {"Origin": "http://["},
            ):
                response = await guarded.post(address, headers=headers, allow_redirects=False)
                assert response.status == 403, address
                await response.read()
    await get(guarded, "/console/segments")


async def test_a_key_that_is_revoked(
    guarded: Client, keys: dict[str, str], conn: Connection
) -> None:
    """Forms of a revoked key change nothing, also if it was revoked while a file arrived."""
    await sign_in(guarded, keys["ann"])
    assert await post(guarded, "/console/keys/rita/revoke") == "/console/keys"
    assert "rita was revoked" in await get(guarded, "/console/keys")
    await post(guarded, "/console/keys/rita/revoke", 404)
    await post(guarded, "/console/keys/nobody/revoke", 404)
    revoked = asyncio.Event()
    head = (b'--x\r\nContent-Disposition: form-data; name="operation"\r\n\r\nadd\r\n--x\r\n'
            b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n')  # fmt: skip

    async def body() -> AsyncIterator[bytes]:
        yield head + b"1\n2\n"
        await revoked.wait()
        yield b"3\n\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sending = asyncio.create_task(
        guarded.post("/console/segments/VOICE/file?do=save", data=body(), headers=headers)
    )
    await store.revoke(conn, "ann")
    while (await guarded.get("/console/segments", allow_redirects=False)).status == 200:
        pass
    revoked.set()
    response = await sending
    assert response.status == 401
    assert "Sign in again" in await response.text()
    assert await conn.fetchval("SELECT count(*) FROM membership") == 1
    path = await post(guarded, "/console/new-segment", slug="X")
    assert path.startswith("/console/sign-in")


async def test_two_at_once(client: Client) -> None:
    """A file and a plan that are sent while others edit the same segment: none is lost."""
    await create(client, "VOICE", 10)
    body = b"".join(b"%d\n" % user for user in range(1, 5001))
    await asyncio.gather(
        send_file(client, "VOICE", body),
        *(
            post(client, "/console/membership", user_id=str(6000 + n), slug="VOICE", do="add")
            for n in range(20)
        ),
        post(client, "/console/segments/VOICE/edit", description="Busy"),
        post(client, "/console/segments/VOICE/percent", percent="20"),
    )
    found = await segment(client, "VOICE")
    assert (found["members"], found["percent"]) == (5020, 20)


@pytest.mark.parametrize(
    "cookie",
    ["", "done=", "done=none", "done=filled&count=1e9", "done=filled&count=" + "9" * 5000,
     "done=created", "done=created&slug=" + HTML, "done=created&slug={slug.__class__}", "%FF&%"],
)  # fmt: skip
async def test_what_was_done_cannot_be_forged(client: Client, cookie: str) -> None:
    """A cookie that the service did not make breaks no page, and is escaped."""
    text = await get(client, "/console/segments", headers={"Cookie": f'segsvc-done="{cookie}"'})
    assert HTML not in unquote(text)


async def test_conflicts_do_not_lose_what_was_typed(client: Client) -> None:
    """A form that is refused keeps its values."""
    await create(client, "VOICE")
    text = await post(client, "/console/new-segment", 409, slug="VOICE", description=HTML)
    assert 'value="VOICE"' in text
    assert "alert(&#39;x&#39;)" in text
    status, _ = await attempt(client, 1, add=["VOICE"])
    assert status == 200


ODD_ADDRESSES = [
    "/console/audit?slug=%00",
    "/console/audit?slug=%ED%A0%80",
    "/console/audit?after=9999999999999999999",
    "/console/sets?any_of=%00",
    "/console/sets?any_of=VOICE&at=9999-12-31T23:59:59.999",
    "/console/keys/%00/revoke",
    "/console/segments/VOICE?after=9999999999999999999",
    "/console/segments/VOICE?user=9999999999999999999",
    "/console/segments/VOICE?at=0001-01-01T00:00",
    "/console/segments/VOICE?source=%00",
    "/console/segments/VOICE/plan?first=0001-01-01T00:00&low=5&high=1&count=100&hours=8760",
    "/console/segments/VOICE/plan?first=2097-01-01T00:00&low=999999999&high=1&count=3&hours=0.00001",
    "/console/segments/VOICE/members.csv?at=x",
    "/console/users/5?after=x",
    "/console/layers/%00",
    "/console/language/en?next=/console/%0D%0AX:1",
]
ODD_VALUES = ["", "\0", "<b>", "9" * 30, "x" * 2000, "0", "none", "1e5", "2026-13-45T99:99", "{0}"]
GOOD = {
    "/console/new-segment": {"slug": "NEW", "description": "", "percent": "5"},
    "/console/segments/VOICE/percent": {"percent": "5", "plan": "keep"},
    "/console/segments/VOICE/edit": {"description": "x", "ends_at": ""},
    "/console/segments/VOICE/plan": {"at": "2098-01-01T00:00", "percent": "5", "etag": "x"},
    "/console/membership": {
        "user_id": "7", "slug": "VOICE", "days": "", "starts_at": "", "expires_at": "",
        "on_conflict": "", "back": "", "do": "add",
    },
    "/console/new-layer": {"slug": "L", "segments": "VOICE", "do": "count"},
    "/console/sets": {
        "any_of": "VOICE", "at": "", "operation": "add", "slug": "VOICE", "description": "",
        "on_conflict": "", "do": "count",
    },
    "/console/report": {"period": "2026-11", "user_id": ""},
    "/console/users/5/erase": {"again": "5"},
    "/console/keys/%00/revoke": {"x": ""},
    "/console/layers/%00": {"add": ""},
    "/console/sign-in": {"key": ""},
}  # fmt: skip


async def test_odd_values(client: Client) -> None:
    """Nothing that a browser or somebody else sends is a defect of the service."""
    await create(client, "VOICE", 10)
    for path in ODD_ADDRESSES:
        response = await client.get(path, allow_redirects=False)
        assert response.status < 500, (path, await response.text())
        await response.read()
    for path, fields in GOOD.items():
        for name in fields:
            for value in ODD_VALUES:
                sent = fields | {name: value}
                response = await client.post(path, data=sent, allow_redirects=False)
                assert response.status < 500, (path, sent, await response.text())
                await response.read()
