"""`segsvc events` and `segsvc relist`: following the feed from the command line."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Databases, database_name
from tests.processes import SEGSVC, TIMEOUT, environment, free_port, run, serving, until, workers_of


def done(url: str, *arguments: str) -> list[str]:
    """Run a command that succeeds and return its lines."""
    process = run(*arguments, url=url)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()


@contextmanager
def following(url: str, out: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `segsvc events --follow` with its lines in a file; stop it, which it does at once."""
    with out.open("a") as lines:
        process = subprocess.Popen(
            [SEGSVC, "events", "--follow", "--json", *arguments],
            env=environment(url=url),
            stdout=lines,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode in {0, -signal.SIGKILL}
    assert "Traceback" not in errors


def users_in(out: Path) -> list[int]:
    """Return the users of the whole lines that were written."""
    lines = out.read_text().split("\n")[:-1]
    return [json.loads(line)["user_id"] for line in lines]


def test_all_events(dsn: str, tmp_path: Path) -> None:
    """Without --follow, the command prints what is kept, or what is new since its last run."""
    cursor = tmp_path / "cursor"
    with serving(database_url=dsn) as (url, _):
        done(url, "segments", "create", "A")
        done(url, "segments", "create", "B", "--percent", "100")
        file = tmp_path / "users"
        file.write_text("".join(f"{number}\n" for number in range(1, 1201)))
        done(url, "members", "add", "A", str(file))
        until(lambda: len(done(url, "events")) == 2400)
        line = done(url, "events", "--segment", "A")[0].split()
        assert line[1:] == ["add", "1", "A", "added"]
        assert len(done(url, "events", "--segment", "A", "--cursor", str(cursor))) == 1200
        assert done(url, "events", "--segment", "A", "--cursor", str(cursor)) == []
        event = json.loads(done(url, "events", "--json", "--segment", "A")[1100])
        assert len(done(url, "events", "--segment", "A", "--after", event["id"])) == 99
        assert done(url, "events", "--after", "now") == []
        for path, text in ((tmp_path / "no" / "cursor", None), (tmp_path / "bytes", b"\xff\xfe")):
            if text:
                path.write_bytes(text)
            refused = run("events", "--cursor", str(path), url=url)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "cannot keep the cursor" in refused.stderr
        wrong = run("events", "--after", "yesterday", url=url)
        assert (wrong.returncode, "#/after" in wrong.stderr) == (1, True)


def test_restarts_are_survived(dsn: str, tmp_path: Path) -> None:
    """While the service is killed and started again, each line comes once, in order."""
    out, cursor = tmp_path / "lines", tmp_path / "cursor"
    settings = {"database_url": dsn, "port": str(free_port()), "workers": "1"}
    with serving(**settings) as (url, service):
        done(url, "segments", "create", "A")
        with following(url, out, "--cursor", str(cursor)):
            file = tmp_path / "users"
            file.write_text("".join(f"{number}\n" for number in range(1, 5001)))
            done(url, "members", "add", "A", str(file))
            until(lambda: len(out.read_text()) > 0)
            workers = workers_of(service.pid)
            service.kill()
            for worker in workers:
                worker.kill()
            service.wait(TIMEOUT)
            with serving(**settings):
                done(url, "members", "remove", "A", str(file))
                until(lambda: len(users_in(out)) >= 10000)
    assert users_in(out) == [*range(1, 5001), *range(1, 5001)]


def test_killed_follower_loses_nothing(dsn: str, tmp_path: Path) -> None:
    """A follower that is killed at any time goes on from its file; what comes twice is the same."""
    out, cursor = tmp_path / "lines", tmp_path / "cursor"
    with serving(database_url=dsn) as (url, _):
        done(url, "segments", "create", "A")
        file = tmp_path / "users"
        file.write_text("".join(f"{number}\n" for number in range(1, 20001)))
        done(url, "members", "add", "A", str(file))
        for least in (1, 5000, 10000):
            with following(url, out, "--cursor", str(cursor)) as process:
                until(lambda least=least: len(users_in(out)) >= least)  # type: ignore[misc]
                process.kill()
            text = out.read_text()
            out.write_text(text[: text.rfind("\n") + 1])
        with following(url, out, "--cursor", str(cursor)):
            until(lambda: users_in(out)[-1:] == [20000])
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert list(dict.fromkeys(ids)) == sorted(set(ids), key=lambda each: int(each.split("_")[2]))
    assert len(set(ids)) == 20000


@pytest.mark.slow
async def test_restored_backup(dsn: str, tmp_path: Path, new_database: Databases) -> None:
    """After a backup was restored and `relist`, who follows is told to list the members again."""
    cursor = tmp_path / "cursor"
    with serving(database_url=dsn) as (url, _):
        done(url, "segments", "create", "A")
    restored = await new_database(database_name(dsn))
    with serving(database_url=dsn) as (url, _):
        file = tmp_path / "users"
        file.write_text("1\n2\n")
        done(url, "members", "add", "A", str(file))
        until(lambda: bool(done(url, "events", "--cursor", str(cursor))))
    said = run("relist", database_url=restored)
    assert (said.returncode, "are refused" in said.stdout) == (0, True)
    with serving(database_url=restored) as (url, _):
        told = run("events", "--cursor", str(cursor), url=url)
        assert (told.returncode, "backup was restored" in told.stderr) == (1, True)
        cursor.unlink()
        assert done(url, "events", "--after", "now", "--cursor", str(cursor)) == []
        done(url, "members", "add", "A", str(file))
        until(lambda: bool(done(url, "events", "--cursor", str(cursor))))
