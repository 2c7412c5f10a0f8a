"""Pruning what ended before a month, and the report from the command line."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segsvc.db.pool import Connection
from segsvc.maintenance import prune as store
from tests.api.reports.test_reports import PAST, REPORTS_OF_THE_PAST
from tests.processes import run


@pytest.fixture(autouse=True)
async def past(conn: Connection) -> None:
    await conn.execute(f"SET timezone = 'UTC'; {PAST}")


def report(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("report", *arguments, database_url=dsn)


@pytest.mark.slow
def test_report_is_the_same(dsn: str, tmp_path: Path) -> None:
    """The command line writes the bytes of the link, to standard output or into a file."""
    for period, expected in REPORTS_OF_THE_PAST.items():
        assert report(dsn, period).stdout == expected
    file = tmp_path / "report.csv"
    assert report(dsn, "2024-04", "--user", "4", "-o", str(file)).returncode == 0
    lines = REPORTS_OF_THE_PAST["2024-04"].splitlines(keepends=True)
    assert file.read_text() == "".join(line for line in lines if line.startswith("4;"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["2024-13"], "2026-11"), (["9999-01"], "future"), (["2024-01", "--user", "0"], "range")],
)
def test_wrong_reports(dsn: str, tmp_path: Path, arguments: list[str], word: str) -> None:
    """A month that is none or to come, and a user who is none, are refused; no file is left."""
    file = tmp_path / "report.csv"
    done = report(dsn, *arguments, "-o", str(file))
    assert done.returncode != 0
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_prune(dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended before the month goes, in batches; reports from that month on stay the same."""
    monkeypatch.setattr(store, "BATCH", 1)
    before = datetime(2024, 4, 1, tzinfo=UTC)
    expected = await store.count(conn, before)
    assert expected == store.Ended(periods=4, rollouts=0, segments=1)
    assert sum([rows async for rows in store.prune(conn, before)]) == 5
    assert await store.count(conn, before) == store.Ended(0, 0, 0)
    for period, lines in REPORTS_OF_THE_PAST.items():
        if period >= "2024-04":
            assert report(dsn, period).stdout == lines, period


async def test_what_ends_with_the_month_stays(conn: Connection) -> None:
    """A period that ended as the kept month began is kept: a stay may continue from it."""
    await conn.execute("DELETE FROM membership WHERE segment_id <> 1 OR user_id <> 3")
    march = datetime(2024, 3, 1, tzinfo=UTC)
    assert (await store.count(conn, march)).periods == 0
    assert sum([rows async for rows in store.prune(conn, march)]) == 0


async def test_prune_layers(conn: Connection) -> None:
    """Layers that were deleted go, with the times of their segments; those that are live stay."""
    await conn.execute("""
        INSERT INTO layer (slug, salt, created_at, deleted_at) VALUES
            ('OVER', 'OVER', '2024-01-01', '2024-02-01'),
            ('LIVE', 'LIVE', '2024-01-01', 'infinity');
        INSERT INTO layer_segment (segment_id, layer_id, valid_from, valid_to)
        SELECT min(s.id), l.id, '2024-01-01', '2024-02-01' FROM segment AS s, layer AS l
        WHERE l.slug = 'OVER' GROUP BY l.id;
        INSERT INTO layer_segment (segment_id, layer_id, valid_from)
        SELECT min(s.id), l.id, '2024-02-01' FROM segment AS s, layer AS l
        WHERE l.slug = 'LIVE' GROUP BY l.id
    """)
    async for _ in store.prune(conn, datetime(2024, 3, 1, tzinfo=UTC)):
        pass
    assert [row["slug"] for row in await conn.fetch("SELECT slug FROM layer")] == ["LIVE"]
    assert await conn.fetchval("SELECT count(*) FROM layer_segment") == 1


def test_prune_by_command(dsn: str) -> None:
    """The dry run counts and deletes nothing; the run says what it deletes; again it is nothing."""
    words = "4 periods, 0 rollouts and 1 segments that ended before 2024-04"
    for arguments, said in (
        (["--dry-run"], f"would delete {words}"),
        ([], f"deleting {words}"),
        ([], "deleting 0 periods, 0 rollouts and 0 segments"),
    ):
        done = run("prune", "--before", "2024-04", *arguments, database_url=dsn)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert run("prune", "--before", "9999-01", database_url=dsn).returncode != 0
