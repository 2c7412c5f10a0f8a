"""The contract of the SQL files: header, parameters, answer, plan, use."""

import json
import re

import asyncpg
import pytest

from segsvc.db.pool import Connection
from segsvc.db.sql import SQL, statement
from tests import ROOT

FILES = sorted(SQL.rglob("*.sql"))
NAMES = [str(path.relative_to(SQL).with_suffix("")) for path in FILES]
PACKAGE = ROOT / "segsvc"
LARGE = {"membership", "users", "segment"}

# Scans that are in a plan behind a condition which is checked first, or of what is small.
GATED = {
    "maintenance/replay": {"segment"},
    "users/list_events": {"segment"},
    "ofrep/evaluate_all": {"segment"},
    "reports/copy_month": {"users", "segment"},
    "segments/preview": {"users"},
    "segments/list_stats": {"users"},
    "members/find_unlisted": {"users"},
    "reports/copy_month_of_user": {"segment"},
}

# What a header says of its index when a full scan is the only way.
READS_EVERYTHING = "none: it reads everything, once"

# How PostgreSQL names in its catalog the types that the headers name in SQL.
CATALOG = {"bigint": "int8", "boolean": "bool", "integer": "int4"}


def header(text: str) -> str:
    return text.partition("\n\n")[0]


def section(text: str, title: str) -> str:
    """Return what a header says under `Title:`, its continued lines joined."""
    found = re.search(rf"^-- {title}: +(.*(?:\n--  +.*)*)", header(text), re.MULTILINE)
    assert found, f"the header has no {title}:"
    return re.sub(r"\n-- +", " ", found[1])


def test_every_file_is_used_and_every_use_has_a_file() -> None:
    """The package loads each file once, and loads nothing else."""
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    used = re.findall(r'= statement\("([a-z_/]+)"\)', source)
    assert sorted(used) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_one_statement_a_file(name: str) -> None:
    """A file is a header that begins with its path, and one statement without a semicolon."""
    text = statement(name)
    assert header(text).splitlines()[0] == f"-- sql/{name}.sql"
    assert re.fullmatch(r"-- [A-Z].*\.", header(text).splitlines()[1])
    assert section(text, "Locks")
    body = re.sub(r"--.*", "", text)
    assert ";" not in body
    assert not re.search(r"\bSELECT\s+(\w+\.)?\*|\bOFFSET\b|IS NULL\s+OR", body)


@pytest.mark.parametrize("name", NAMES)
async def test_header_agrees_with_the_server(conn: Connection, name: str) -> None:
    """The server finds the parameters and the columns that the header promises."""
    text = statement(name)
    await stage(conn, name)
    prepared = await conn.prepare(text)
    promised = re.findall(r"^-- \$(\d+) +\w+ +(\w+)(\[\])?", header(text), re.MULTILINE)
    assert [int(number) for number, _, _ in promised] == list(range(1, len(promised) + 1))
    actual = [parameter.name for parameter in prepared.get_parameters()]
    assert actual == [
        CATALOG.get(kind, kind) + ("[]" if array else "") for _, kind, array in promised
    ]
    for column in prepared.get_attributes():
        assert re.search(rf"\b{column.name}\b", section(text, "Returns")), column.name
    for number in range(1, len(promised) + 1):
        assert re.search(rf"\${number}::", text), f"${number} is not cast"


# Statements that PostgreSQL has no plan for.
UTILITY = {
    "members/stage",
    "members/stage_unlisted",
    "members/analyze_staged",
    "members/analyze_unlisted",
}


async def stage(conn: Connection, name: str) -> None:
    """Stage some users for a statement that takes them from there."""
    if name.startswith("members/") and name != "members/stage":
        await conn.execute(statement("members/stage"))
        await conn.execute("INSERT INTO staged SELECT n FROM generate_series(1, 100) AS n")
        await conn.execute(statement("members/analyze_staged"))
        if name != "members/stage_unlisted":
            await conn.execute(statement("members/stage_unlisted"))


# What runs seldom, and is planned for its values.
VALUES = {
    "maintenance/replay": "'{1,2,3}'",
    "events/find_segment": "'2026-01-02', 1",
    "audit/list": "null, 'SEG_1', null, 100",
    "segments/list_stats": "1, '2026-07-01', '2026-08-01', 'day'",
    "segments/list_sorted": "'members', null, null, '', 100",
    "members/change": "1, '2026-07-01', true, null, null, null, false",
    "members/find_set": "'{1,2}', '{2026-07-01,2026-07-02}', '{all,all}'",
    "members/find_unlisted": "1, '2026-07-01'",
    "members/list": "1, 0, 100, NULL, NULL",
    "segments/preview": "1, '2026-07-01', 'SEG_1', '{[0,1000000)}', '{}'",
    "members/list_conflicts": "1, '2026-07-01', null, null, 100",
    "members/move": "1, '2026-07-01', null, null, null",
    "members/skip_conflicts": "1, '2026-07-01', null, null",
    "segments/get": "'SEG_1', null",
    "members/register": "'2026-07-01'",
    "reports/copy_month": "'2026-07-01', '2026-08-01'",
    "reports/copy_month_of_user": "'2026-07-01', '2026-08-01', 200",
    "maintenance/count_ended": "'2026-07-15'",
    "maintenance/count_audit": "'2026-01-02'",
    "maintenance/delete_audit": "'2026-01-02', 100",
    "maintenance/delete_periods": "'2026-07-15', 1000",
    "maintenance/delete_periods_of_segment": "1, 1000",
    "maintenance/delete_rollouts": "'2025-07-01'",
    "maintenance/delete_segment": "1",
    "maintenance/list_deleted_segments": "'2026-07-01'",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in UTILITY])
async def test_plan_uses_the_index_named(crowd: str, name: str) -> None:
    """On a million periods a statement takes the indexes named, and scans no large table."""
    text = statement(name)
    mode = "force_custom_plan" if name in VALUES else "force_generic_plan"
    conn = await asyncpg.connect(crowd, server_settings={"plan_cache_mode": mode})
    try:
        await stage(conn, name)
        prepared = await conn.prepare(text)
        nulls = ", ".join("NULL" for _ in prepared.get_parameters())
        await conn.execute(f"PREPARE reviewed AS {text}")
        values = VALUES.get(name, nulls)
        call = f"reviewed({values})" if values else "reviewed"
        plan = json.loads(await conn.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {call}"))
    finally:
        await conn.close()
    nodes = list(flatten(plan[0]["Plan"]))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    named = section(text, "Index")
    allowed = LARGE if named == READS_EVERYTHING else GATED.get(name, set())
    assert not scanned & (LARGE - allowed), json.dumps(plan, indent=1)
    # Rollouts and layers are few: it does not matter how they are found, and the planner goes back
    # and forth.
    few = {
        "rollout",
        "layer",
        "layer_segment",
        *(GATED.get(name, set()) if name not in VALUES else ()),
    }
    used = {n.get("Index Name") for n in nodes if n.get("Relation Name") not in few}
    # In bitmap scans, which name no table.
    used -= {
        "rollout_pkey",
        "rollout_valid_to_idx",
        "layer_segment_layer_id_idx",
        "layer_segment_pkey",
    }
    used |= {index for node in nodes for index in node.get("Conflict Arbiter Indexes", ())}
    if not named.startswith("none"):
        unnamed = used - set(named.split(", ")) - {None}
        assert set(named.split(", ")) <= used, json.dumps(plan, indent=1)
        assert name in VALUES or not unnamed, json.dumps(plan, indent=1)


def flatten(node: dict) -> list[dict]:  # type: ignore[type-arg]
    return [node, *(inner for child in node.get("Plans", ()) for inner in flatten(child))]


def test_missing_file_stops_the_start() -> None:
    """A statement without a file is an error when it is named, not when it runs."""
    with pytest.raises(FileNotFoundError):
        statement("segments/missing")
