"""Flags as the protocol has them: values, reasons, errors, entity tags."""

import asyncio
from typing import Any

import pytest

from segsvc.api.ofrep import store
from segsvc.api.ofrep.evaluations import Flag
from segsvc.api.ofrep.schemas import FLAG
from segsvc.api.ofrep.schemas import FLAGS as FLAGS_ANSWER
from segsvc.db.pool import Connection
from segsvc.http.responses import json_response
from tests.api_calls import change, create, set_percent
from tests.conftest import Client

SEGMENTS = "/api/v1/segments"
FLAGS = "/ofrep/v1/evaluate/flags"

ON = {"value": True, "variant": "on", "metadata": {}}
OFF = {"value": False, "variant": "off", "metadata": {}}


def context(user_id: object, **attributes: object) -> dict[str, Any]:
    return {"context": {"targetingKey": user_id} | attributes}


async def evaluate(client: Client, key: str, user_id: object) -> tuple[bool, str]:
    """Return value and reason of one flag, the same whether it is asked for alone or with all."""
    alone = await client.post(f"{FLAGS}/{key}", json=context(user_id))
    together = await client.post(FLAGS, json=context(user_id))
    assert (alone.status, together.status) == (200, 200)
    flag = await alone.json()
    assert [flag] == [f for f in (await together.json())["flags"] if f["key"] == key]
    assert flag == {"key": key, "reason": flag["reason"]} | (ON if flag["value"] else OFF)
    return flag["value"], flag["reason"]


async def test_reasons(client: Client) -> None:
    """By hand is a match of targeting, by percentage a split either way, and neither is static."""
    await create(client, "MANUAL")
    await create(client, "ALL", 100)
    await create(client, "NOBODY", 0)
    assert await evaluate(client, "MANUAL", "1") == (False, "STATIC")
    assert await evaluate(client, "ALL", "1") == (True, "SPLIT")
    assert await evaluate(client, "NOBODY", "1") == (False, "SPLIT")
    await change(client, 1, add=["MANUAL", "ALL", "NOBODY"])
    assert await evaluate(client, "MANUAL", "1") == (True, "TARGETING_MATCH")
    assert await evaluate(client, "ALL", "1") == (True, "TARGETING_MATCH")
    assert await evaluate(client, "NOBODY", "1") == (True, "TARGETING_MATCH")
    await change(client, 1, remove=["MANUAL", "ALL", "NOBODY"])
    assert await evaluate(client, "MANUAL", "1") == (False, "STATIC")
    assert await evaluate(client, "ALL", "1") == (False, "SPLIT")
    assert await evaluate(client, "NOBODY", "1") == (False, "SPLIT")


async def test_kept_out_is_not_by_hand(client: Client, conn: Connection) -> None:
    """An exclusion by hand is never given as a reason to be in."""
    await create(client, "ALL", 100)
    await change(client, 1, remove=["ALL"])
    pair, unknown = await store.evaluate(conn, [(1, "ALL"), (2, "NONE")])
    assert dict(pair) == {
        "live": True,
        "automatic": True,
        "by_hand": False,
        "member": False,
        "known": True,
    }
    assert dict(unknown) == {
        "live": False,
        "automatic": False,
        "by_hand": False,
        "member": False,
        "known": False,
    }


async def test_many_at_once(client: Client) -> None:
    """Of many evaluations at once each is of its user: by percentage as read, or by hand."""
    await create(client, "HALF", 50)
    users = range(1, 201)
    by_hand = set(users[::5])
    for user_id in by_hand:
        await change(client, user_id, add=["HALF"])

    async def one(user_id: int) -> dict[str, Any]:
        response = await client.post(f"{FLAGS}/HALF", json=context(str(user_id)))
        flag: dict[str, Any] = await response.json()
        return flag

    flags = await asyncio.gather(*(one(user_id) for user_id in users))
    response = await client.post("/api/v1/users/segments", json={"user_ids": [*users]})
    read = [bool(user["segments"]) for user in (await response.json())["users"]]
    assert [flag["value"] for flag in flags] == read
    assert 90 < sum(read) < 150
    assert [flag["reason"] for flag in flags] == [
        "TARGETING_MATCH" if user_id in by_hand else "SPLIT" for user_id in users
    ]


async def test_writes_are_seen_at_once(client: Client) -> None:
    """An evaluation shows every write that was answered before it; one amid a write is sound."""
    done = asyncio.Event()
    sound = {(True, "TARGETING_MATCH"), (True, "SPLIT"), (False, "SPLIT"), (False, "STATIC")}

    async def watch() -> None:
        while not done.is_set():
            for path in (FLAGS, f"{FLAGS}/A"):
                answer = await (await client.post(path, json=context("1"))).json()
                flags = answer.get("flags", [answer] if "value" in answer else [])
                assert {(flag["value"], flag["reason"]) for flag in flags} <= sound

    watchers = [asyncio.create_task(watch()) for _ in range(4)]
    for _ in range(10):
        assert (await client.post(f"{FLAGS}/A", json=context("1"))).status == 404
        await create(client, "A")
        assert await evaluate(client, "A", "1") == (False, "STATIC")
        await set_percent(client, "A", 100)
        assert await evaluate(client, "A", "1") == (True, "SPLIT")
        await change(client, 1, add=["A"])
        assert await evaluate(client, "A", "1") == (True, "TARGETING_MATCH")
        await set_percent(client, "A", None)
        await change(client, 1, remove=["A"])
        assert await evaluate(client, "A", "1") == (False, "STATIC")
        await client.delete(f"{SEGMENTS}/A")
        response = await client.post(FLAGS, json=context("1"))
        assert (await response.json())["flags"] == []
    done.set()
    await asyncio.gather(*watchers)


async def test_expiry(client: Client) -> None:
    """A membership that ends turns its flag off by itself."""
    await create(client, "A")
    await change(client, 1, add=["A"], ttl=1)
    assert await evaluate(client, "A", "1") == (True, "TARGETING_MATCH")
    await asyncio.sleep(1.1)
    assert await evaluate(client, "A", "1") == (False, "STATIC")


async def test_who_is_asked_about_is_known(client: Client, conn: Connection) -> None:
    """The users of evaluations become known, as with every read; those of refusals do not."""
    await create(client, "A")
    await client.post(f"{FLAGS}/A", json=context("1"))
    await client.post(f"{FLAGS}/NONE", json=context("2"))
    await client.post(FLAGS, json=context("3"))
    await client.post(f"{FLAGS}/A", json=context("04"))
    known = await conn.fetch("SELECT u.id FROM users AS u ORDER BY u.id")
    assert [row["id"] for row in known] == [1, 2, 3]


GREATEST = 2**63 - 1
KEY_MISSING: tuple[Any, ...] = (
    {},
    {"context": {}},
    context(None),
    context(""),
    {"context": {"plan": "gold"}},
)
WRONG_KEYS: list[Any] = [
    "0", "-1", "+1", "01", "1.0", " 1", "1 ", "1e3", "alice", "\0", "١", "\ud800",
    str(GREATEST + 1), 0, -1, 1.0, 1.5, True, False, GREATEST + 1, [], ["1"], {},
]  # fmt: skip
NOT_THE_PROTOCOL: tuple[Any, ...] = (
    *(b"", b"{", b"\xff", b'{"context": {"targetingKey": NaN}}', b"[" * 100_000),
    b'{"context": {"targetingKey": "1", "targetingKey": "2"}}',
    *([], "1", 1, b"null", {"context": None}, {"context": []}, {"context": "1"}),
)
ERRORS = [
    *(("TARGETING_KEY_MISSING", body) for body in KEY_MISSING),
    *(("INVALID_CONTEXT", context(key)) for key in WRONG_KEYS),
    *(("PARSE_ERROR", body) for body in NOT_THE_PROTOCOL),
]


async def test_errors(client: Client) -> None:
    """Each bad request is answered 400, with the protocol's code and all that providers read."""
    await create(client, "A")
    for code, body in ERRORS:
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        for path, key in ((FLAGS, {}), (f"{FLAGS}/A", {"key": "A"}), (f"{FLAGS}/B", {"key": "B"})):
            headers = {"Content-Type": "application/json"}
            response = await client.post(path, headers=headers, **content)
            assert response.status == 400, (path, body)
            assert response.content_type == "application/json"
            answer = await response.json()
            assert answer.pop("errorDetails"), body
            assert answer == key | {"errorCode": code, "metadata": {}}, body


@pytest.mark.parametrize(
    ("raw", "key"),
    [("NONE", "NONE"), ("a", "a"), ("%00", "\0"), ("A%2FB", "A/B"), ("S" * 65, "S" * 65),
     ("%C3%89", "É"), ("%ED%A0%80", "%ED%A0%80")],
)  # fmt: skip
async def test_unknown_flag(client: Client, raw: str, key: str) -> None:
    """A key that no live segment has is answered 404, with the protocol's code."""
    await create(client, "A")
    url = client.make_url(FLAGS).joinpath(raw, encoded=True)
    response = await client.session.post(url, json=context("1"))
    assert response.status == 404
    assert response.content_type == "application/json"
    answer = await response.json()
    assert answer.pop("errorDetails")
    assert answer == {"key": key, "errorCode": "FLAG_NOT_FOUND", "metadata": {}}


@pytest.mark.parametrize(
    "body",
    [context("1000"), context(1000), context(str(GREATEST)), context(GREATEST),
     context("1000", plan="gold", age=1.5, tags=["a", None], nested={"targetingKey": "x"}),
     context("1000") | {"flags": ["A"]}],
    ids=["digits", "integer", "greatest", "greatest integer", "attributes", "more members"],
)  # fmt: skip
async def test_what_clients_send(client: Client, body: dict[str, Any]) -> None:
    """A user id is taken in digits and as an integer, and other attributes are ignored."""
    await create(client, "ALL", 100)
    for path in (FLAGS, f"{FLAGS}/ALL"):
        response = await client.post(f"{path}?flagConfigEtag=x", json=body)
        assert response.status == 200
        assert '"value": true' in await response.text()


async def test_all_flags(client: Client) -> None:
    """All live segments are answered in the order of their slugs, none a member short."""
    empty = await client.post(FLAGS, json=context("1"))
    assert await empty.json() == {"flags": [], "metadata": {}}
    for slug, percent in (("b", None), ("B", 0), ("A", 100), ("GONE", 100)):
        await create(client, slug, percent)
    await client.delete(f"{SEGMENTS}/GONE")
    response = await client.post(FLAGS, json=context("1"))
    assert await response.json() == {
        "flags": [
            {"key": "A", "reason": "SPLIT"} | ON,
            {"key": "B", "reason": "SPLIT"} | OFF,
            {"key": "b", "reason": "STATIC"} | OFF,
        ],
        "metadata": {},
    }


async def test_bytes(client: Client) -> None:
    """The text that is built by hand is what the schemas dump, byte for byte."""
    await create(client, "Manual-1")
    await create(client, "ALL", 100)
    await change(client, 1, add=["Manual-1"])
    flags = [Flag("ALL", value=True, reason="SPLIT")]
    flags.append(Flag("Manual-1", value=True, reason="TARGETING_MATCH"))
    for path, schema, value in (
        (f"{FLAGS}/ALL", FLAG, flags[0]),
        (f"{FLAGS}/Manual-1", FLAG, flags[1]),
        (FLAGS, FLAGS_ANSWER, {"flags": flags, "metadata": {}}),
    ):
        response = await client.post(path, json=context("1"))
        assert await response.read() == json_response(schema, value).body
        assert response.headers["Content-Type"] == "application/json"


async def test_entity_tag(client: Client) -> None:
    """The ETag is strong, changes only with the answer, and a request that sends it gets 304."""
    await create(client, "A")

    async def ask(user_id: int, condition: str | None = None) -> tuple[int, str, bytes]:
        headers = {"If-None-Match": condition} if condition is not None else {}
        response = await client.post(FLAGS, json=context(str(user_id)), headers=headers)
        return response.status, response.headers["ETag"], await response.read()

    status, etag, body = await ask(1)
    assert status == 200
    assert etag[0] == etag[-1] == '"'
    assert await ask(1) == (200, etag, body)
    for match in (etag, f'"x", {etag}', f"W/{etag}", f'{etag},"x"', "*"):
        assert await ask(1, match) == (304, etag, b""), match
    for other in ("", '"x"', etag.strip('"'), f'"x{etag[1:]}', "garbage, *", '"*'):
        assert await ask(1, other) == (200, etag, body), other
    await change(client, 1, add=["A"])
    status, changed, _ = await ask(1, etag)
    assert (status, changed != etag) == (200, True)
    assert (await ask(2, etag))[0] == 304
    await create(client, "B")
    assert (await ask(1, changed))[0] == 200
