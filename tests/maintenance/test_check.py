"""`segsvc check`: what must never be is found."""

import json

import pytest

from segsvc.db.pool import Connection
from segsvc.maintenance import check as store
from tests.api_calls import change, create
from tests.conftest import Client
from tests.processes import run

SOUND = """
    INSERT INTO segment (slug, description, created_at, deleted_at) VALUES
        ('A', '', '2024-01-01', 'infinity'),
        ('B', '', '2024-01-01', '2024-06-01'),
        ('B', '', '2024-07-01', 'infinity');
    INSERT INTO users SELECT u, '2024-01-01' FROM generate_series(1, 2500) AS u;
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from)
    VALUES (1, 50, 'A', rollout_points(50), '2024-02-01');
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to) VALUES
        (1, 1, FALSE, '2024-03-01', '2024-04-01'),
        (1, 1, TRUE, '2024-04-01', '2024-05-01'),
        (2, 3, TRUE, '2024-08-01', 'infinity');
"""

WRONG = {
    "starts before an earlier one ends": """
        INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
        VALUES (1, 1, TRUE, '2024-04-02', '2024-04-03')
    """,
    "outside the life of its segment": """
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        VALUES (1, 2, TRUE, '2024-06-01')
    """,
    "a period starts outside": """
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        VALUES (1, 99, TRUE, '2024-06-01')
    """,
    "not registered": "DELETE FROM users WHERE id = 2",
    "a rollout starts outside": """
        INSERT INTO rollout (segment_id, percent, salt, points, valid_from)
        VALUES (3, 1, 'B', rollout_points(1), '2024-06-30')
    """,
    "more or fewer points": "UPDATE rollout SET points = '{[0,9)}'",
    "points of another segment of its layer": """
        ALTER TABLE rollout DROP CONSTRAINT rollout_points_excl;
        INSERT INTO layer (slug, salt, created_at) VALUES ('L', 'A', '2024-07-01');
        UPDATE rollout SET layer_id = 1;
        INSERT INTO rollout (segment_id, percent, salt, points, layer_id, valid_from)
        VALUES (3, 1, 'A', rollout_points(1), 1, '2024-07-01')
    """,
    "not in the layer of its segment": """
        INSERT INTO layer (slug, salt, created_at) VALUES ('L', 'A', '2024-03-01');
        INSERT INTO layer_segment (segment_id, layer_id, valid_from) VALUES (1, 1, '2024-03-01')
    """,
    "outside the life of one of them": """
        INSERT INTO layer (slug, salt, created_at) VALUES ('L', 'A', '2024-03-02');
        INSERT INTO layer_segment (segment_id, layer_id, valid_from) VALUES (3, 1, '2024-06-30')
    """,
    "earlier one with its slug": "UPDATE segment SET created_at = '2024-05-31' WHERE id = 3",
}


async def faults(conn: Connection) -> list[str]:
    found = await store.structure(conn)
    async for _, wrong in store.replay(conn):
        found += wrong
    return found


async def test_sound_database(conn: Connection, client: Client) -> None:
    """What the service wrote has no faults; neither has an empty database."""
    assert await faults(conn) == []
    await conn.execute(SOUND)
    await change(client, 7, add=["A"], remove=["B"])
    await client.delete("/api/v1/segments/A")
    await create(client, "A", 10)
    assert await faults(conn) == []


@pytest.mark.parametrize("wrong", WRONG)
async def test_structure(conn: Connection, wrong: str) -> None:
    """Rows that the service would never write are found, each by its own check."""
    await conn.execute(SOUND)
    await conn.execute(WRONG[wrong])
    assert any(wrong in fault for fault in await faults(conn))


async def test_replay(conn: Connection, dsn: str) -> None:
    """Events that disagree with the reads, or that repeat themselves, are found."""
    await conn.execute(SOUND)
    await conn.execute("""
        ALTER FUNCTION stay_events(segment, timestamptz, membership[], rollout[], elsewhere[])
        RENAME TO real_events;
        CREATE FUNCTION stay_events(
            s segment, f timestamptz, h membership[], r rollout[], e elsewhere[]
        )
        RETURNS TABLE (at timestamptz, operation text, cause text, actor text)
        LANGUAGE sql STABLE AS $$
            SELECT * FROM real_events(s, f, h, r, e) WHERE coalesce(h[1].user_id <> 2, TRUE)
            UNION ALL SELECT now(), 'add', '', '' WHERE h[1].user_id = 2500
            UNION ALL SELECT now() - interval '1 h', 'add', '', '' WHERE h[1].user_id = 2500
        $$;
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        VALUES (2500, 1, FALSE, '2024-03-01')
    """)
    found = await faults(conn)
    assert any("disagree: user 2 " in fault for fault in found)
    assert any("alternate: user 2500" in fault for fault in found)
    done = run("check", database_url=dsn)
    assert done.returncode == 1
    *faults_said, summary = done.stdout.splitlines()
    assert "2500 users checked" in summary
    lines = run("check", "--json", database_url=dsn).stdout.splitlines()
    assert [json.loads(line)["fault"] for line in lines] == faults_said


def test_command(dsn: str) -> None:
    """The command says how much was checked."""
    done = run("check", database_url=dsn)
    assert (done.returncode, done.stdout) == (0, "0 users checked, 0 faults\n")
