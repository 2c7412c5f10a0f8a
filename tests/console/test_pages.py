"""The pages as HTML: who may see them, what they say, and in which language."""

import re
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.auth import sessions, store
from segsvc.auth.roles import Role
from segsvc.console import charts, pages
from segsvc.console.sessions import COOKIE
from segsvc.console.texts import LANGUAGES, Texts, catalogue, choose
from segsvc.db.pool import Connection
from segsvc.http.problems import Problem
from tests.api_calls import call, change, create
from tests.conftest import SECRET, Client
from tests.histories import put_in

SOURCES = Path(pages.__file__).parent.glob("*.py")
TEMPLATES = Path(pages.__file__).parent / "templates"
HTML = "<script>alert('x')</script> & \"quotes\""
ADDRESSES = [
    "/console/segments",
    "/console/segments?q=voice&sort=members",
    "/console/segments?sort=created_at",
    "/console/segments/VOICE",
    "/console/segments/VOICE?source=rollout&after=3",
    "/console/segments/VOICE?user=5&at=2098-01-01T00:00",
    "/console/segments/VOICE/size",
    "/console/segments/HALF/percent?percent=12,5",
    "/console/segments/HALF/percent?percent=none",
    "/console/segments/HALF/plan",
    "/console/segments/HALF/plan?first=2097-01-01T00:00&low=5&high=100&count=5&hours=24",
    "/console/segments/VOICE/edit",
    "/console/segments/VOICE/file",
    "/console/segments/VOICE/delete",
    "/console/new-segment",
    "/console/membership?slug=VOICE",
    "/console/users/5/erase",
    "/console/new-layer",
    "/console/layers/L",
    "/console/layers/L/dissolve",
    "/console/sets?any_of=VOICE",
    "/console/sets?any_of=VOICE+HALF&none_of=OTHER",
    "/console/report",
    "/console/keys",
    "/console/users/5",
    "/console/users/77",
    "/console/layers",
    "/console/audit",
    "/console/audit?slug=VOICE&actor=nobody",
]


@pytest.fixture
async def filled(client: Client) -> Client:
    """A service with segments, members, a layer, a plan and a history."""
    await call(client, "POST", "/segments", 201, json={"slug": "VOICE", "description": HTML})
    await create(client, "HALF", 50)
    await create(client, "OTHER")
    await put_in(client, "VOICE", *range(1, 61))
    await change(client, 5, add=["OTHER"], ttl=3600)
    await change(client, 6, remove=["HALF"])
    await change(client, 5, add=["HALF"], starts_at="2098-01-01T00:00:00Z")
    layer = {"slug": "L", "segments": ["OTHER", "HALF"]}
    await call(client, "POST", "/layers", 201, json=layer)
    steps = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 75}]}
    await call(client, "PUT", "/segments/HALF/plan", json=steps)
    return client


async def get(client: Client, path: str, status: int = 200, **sent: Any) -> str:
    """Return a page."""
    response = await client.get(path, allow_redirects=False, **sent)
    assert response.status == status, path
    return await response.text()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_pages(filled: Client, language: str) -> None:
    """Each page is HTML that takes nothing from elsewhere, and every link on it leads to a page."""
    seen = set()
    for path in ADDRESSES:
        response = await filled.get(path, headers={"Accept-Language": language})
        text = await response.text()
        assert (response.status, response.content_type) == (200, "text/html"), path
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert f'<html lang="{language}">' in text
        assert len(text) < 100_000
        assert not re.search(r"<script>|<style| style=|javascript:| on\w+=", text.replace(HTML, ""))
        seen |= set(re.findall(r'(?:href|src)="(/[^"#]*)', text))
    for path in seen:
        response = await filled.get(path.replace("&amp;", "&"))
        assert response.status == 200, path


async def test_files_are_cached(filled: Client) -> None:
    """A browser keeps the style sheet for an hour, and no page."""
    for path, kept in (("/console/static/console.css", "public"), ("/console/layers", "no-store")):
        response = await filled.get(path)
        assert kept in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        await response.read()


async def test_what_pages_say(filled: Client) -> None:
    """The pages have the segments with their facts, and the reasons of a user in words."""
    text = await get(filled, "/console/segments")
    assert all(
        word in text for word in ("VOICE", "HALF", "50\N{NARROW NO-BREAK SPACE}%", "2098-01")
    )
    assert "&lt;script&gt;alert(&#39;x&#39;)" in text
    text = await get(filled, "/console/users/5")
    for reason in ("in by hand", "OTHER", "Until"):
        assert reason in text
    text = await get(filled, "/console/users/6")
    assert "excluded by hand" in text
    text = await get(filled, "/console/segments?q=zzz")
    assert "No segment has" in text
    text = await get(filled, "/console/audit")
    assert all(word in text for word in ("layer formed", "segment created", "members added"))


async def test_suspended_users_are_not_listed(filled: Client) -> None:
    """The list counts members by hand as the API does, without who is suspended in the layer."""
    await put_in(filled, "HALF", 10, 11, 12)
    await put_in(filled, "OTHER", 11, 13, on_conflict="suspend")
    await put_in(filled, "VOICE", *range(1, 1002))
    text = await get(filled, "/console/segments")
    rows = re.findall(
        r'<a href="/console/segments/(\w+)">.*?<td class="number"[^>]*>(.*?)<', text, re.DOTALL
    )
    space = "\N{NARROW NO-BREAK SPACE}"
    assert dict(rows) == {"HALF": "2", "OTHER": "3", "VOICE": f"1{space}000+"}
    for slug in ("HALF", "OTHER"):
        segment = await call(filled, "GET", f"/segments/{slug}")
        assert segment["members"] == int(dict(rows)[slug])


async def test_table_is_the_stats(filled: Client) -> None:
    """The table behind the chart of a segment is what the API says of its size."""
    text = await get(filled, "/console/segments/VOICE/size")
    rows = re.findall(r'<tr><th scope="row">(\S+)</th>(.*?)</tr>', text)
    shown = {day: [int(n) for n in re.findall(r">(\d+)<", row)] for day, row in rows}
    stats = (await call(filled, "GET", "/segments/VOICE/stats?step=day"))["stats"]
    counted = {
        row["at"][:10]: [row[name] for name in ("members", "by_hand", "by_percentage", "joined",
                                                "left")]
        for row in stats
    }  # fmt: skip
    assert shown == {day: counted[day] for day in shown}
    assert shown


async def test_wrong_addresses(filled: Client) -> None:
    """What is not there, or wrong, is a page that says so."""
    for path, status in (
        ("/console/segments/NONE", 404),
        ("/console/segments/-", 404),
        ("/console/users/0", 404),
        ("/console/users?id=x", 422),
        ("/console/segments?after=1,A&sort=members&q=%00", 422),
        ("/console/static/none.css", 404),
        ("/console/language/xx", 404),
    ):
        text = await get(filled, path, status)
        assert "<h1>" in text, path
    assert "/console/segments" in (await filled.get("/", allow_redirects=False)).headers["Location"]


async def signed_in(client: Client, key: str, status: int = 303, **headers: str) -> Any:
    """Send the form with a key."""
    response = await client.post(
        "/console/sign-in?next=/console/audit",
        data={"key": key},
        allow_redirects=False,
        headers=headers,
    )
    assert response.status == status
    await response.read()
    return response


async def test_sessions(aiohttp_client: AiohttpClient, dsn: str, conn: Connection) -> None:
    """A key begins a session, which ends with the key, with time, or by the button."""
    key = await store.create(conn, "ann", Role.READER)
    assert key
    client = await aiohttp_client(create_app(dsn, secret=SECRET))
    response = await client.get("/console/segments?q=a", allow_redirects=False)
    assert response.status == 303
    assert response.headers["Location"] == "/console/sign-in?next=/console/segments%3Fq%3Da"
    assert "not known" in await (await signed_in(client, "ann.wrong", 422)).text()
    response = await signed_in(client, f" {key} ")
    assert response.headers["Location"] == "/console/audit"
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/console")
    assert key.partition(".")[2] not in cookie.value
    assert "ann, reader" in await get(client, "/console/segments")
    await client.post("/console/sign-out", allow_redirects=False)
    await get(client, "/console/segments", 303)

    value = sessions.sign("ann", time.time(), SECRET)
    old = sessions.sign("ann", time.time() - sessions.LIFETIME, SECRET)
    wrong = [value[:-1] + ("A" if value[-1] != "A" else "B"), old, "ann", "", value + "é"]
    wrong += [sessions.sign("ann", time.time(), "another secret"), value.replace("ann", "bob")]
    for given in wrong:
        assert sessions.verify(given, time.time(), SECRET) is None
    await get(client, "/console/segments", headers={"Cookie": f"{COOKIE}={value}"})
    await get(client, "/console/segments", 303, headers={"Cookie": f"{COOKIE}={old}"})
    await store.revoke(conn, "ann")
    while (await client.get(  # the list of keys is read each second
        "/console/segments", allow_redirects=False, headers={"Cookie": f"{COOKIE}={value}"}
    )).status == 200:  # fmt: skip
        pass


async def test_forms_of_other_pages(
    aiohttp_client: AiohttpClient, dsn: str, conn: Connection
) -> None:
    """A form that another page sends is refused, and a link cannot lead elsewhere."""
    key = await store.create(conn, "ann", Role.EDITOR)
    assert key
    client = await aiohttp_client(create_app(dsn, secret=SECRET))
    for headers, status in (
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": f"http://{client.host}:{client.port}"}, 303),
    ):
        await signed_in(client, key, status, **headers)
    for path in ("https://elsewhere.example/", "//elsewhere.example", "/console\\..", ""):
        response = await client.post(
            "/console/sign-in", params={"next": path}, data={"key": key}, allow_redirects=False
        )
        assert response.headers["Location"] == "/console/segments"


def all_problems(kind: type[Problem]) -> Iterator[type[Problem]]:
    """Yield what the service may answer."""
    for each in kind.__subclasses__():
        yield each
        yield from all_problems(each)


def test_catalogues() -> None:
    """Every text is there in each language, with the same values, and no text is unused."""
    english = catalogue("en")

    def values(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for language in LANGUAGES:
        texts = catalogue(language)
        assert list(texts) == list(english)
        assert all(values(texts[name]) == values(english[name]) for name in texts)
    source = "".join(path.read_text() for path in TEMPLATES.glob("*.html"))
    source += "".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r'"([a-z_]+\.[\w.]+)"', source))
    prefixes = (*re.findall(r'\bt\("([\w.]+\.)" ~', source), "error.", "field.", "done.")
    for kind in all_problems(Problem):
        used |= {f"problem.{kind.slug}", f"error.{kind.status}"}
    used |= {f"done.{name}" for name in re.findall(r'done\(\s*[^,()]+, "(\w+)"', source)}
    used |= {f"field.{name}" for name in re.findall(r'field\(t, [\w{}]+, "(\w+)"', source)}
    used = {name for name in used if not name.endswith(".html")}
    assert {n for n in used if n.startswith(prefixes)} - set(english) - set(prefixes) == set()
    assert set(re.findall(r'\bt\("([\w.]+)"', source)) - set(english) - set(prefixes) == set()
    assert [n for n in english if n not in used and not n.startswith(prefixes)] == []


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        (None, "en;q=0.5, ru;q=0.7", "ru"),
        (None, "de, *;q=0.1", "en"),
        ("en", "ru", "en"),
        ("xx", "ru", "ru"),
        (None, "ru;q=x", "en"),
    ],
)
def test_language(asked: str | None, accepted: str, language: str) -> None:
    """The switch decides, then what the browser accepts, then English."""
    assert choose(asked, accepted) == language


def test_plural_forms() -> None:
    """Russian has three forms, English two."""
    counts = (1, 2, 5, 11, 12, 21, 22, 25, 101, 111)
    russian = [Texts("ru")("user.now", count=count).split()[-1] for count in counts]
    assert russian == [
        "сегменте", "сегментах", "сегментах", "сегментах", "сегментах",
        "сегменте", "сегментах", "сегментах", "сегменте", "сегментах",
    ]  # fmt: skip
    assert Texts("en")("user.now", count=1) == "In 1 segment"
    assert Texts("en")("user.now", count=1200) == "In 1\N{NARROW NO-BREAK SPACE}200 segments"


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 4), (3, 4), (5, 8), (9, 20), (100, 100), (101, 200), (450, 800), (1948, 2000)],
)
def test_axis(value: int, top: int) -> None:
    """The axis ends at a round number that is not below the largest value."""
    assert charts.nice(value) == top
