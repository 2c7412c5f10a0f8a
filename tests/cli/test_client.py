"""The commands that speak to a running service over HTTP."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from segsvc.db.pool import Connection
from tests.processes import SEGSVC, TIMEOUT, environment, free_port, run, serving


@pytest.fixture
def url(dsn: str) -> Iterator[str]:
    with serving(database_url=dsn) as (url, _):
        yield url


def done(url: str, *arguments: str, stdin: str = "") -> list[str]:
    """Run a command that succeeds and return what it printed, in lines."""
    process = run(*arguments, stdin=stdin, url=url)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()


def refused(url: str, *arguments: str, status: int = 1, stdin: str = "") -> str:
    """Run a command that fails and return what it said."""
    process = run(*arguments, stdin=stdin, url=url)
    assert (process.returncode, process.stdout) == (status, "")
    assert "Traceback" not in process.stderr
    return process.stderr


def test_segments(url: str) -> None:
    """Segments are created, listed, given a percentage and deleted."""
    done(url, "segments", "create", "A")
    done(url, "segments", "create", "B", "--percent", "12.5", "--description", "what for")
    assert [line.split() for line in done(url, "segments", "list")] == [
        ["A", "-"],
        ["B", "12.5", "%", "what", "for"],
    ]
    assert "20 %" in done(url, "segments", "set-percent", "A", "20")[0]
    assert "%" not in done(url, "segments", "set-percent", "A", "none")[0]
    assert "Aborted" in run("segments", "delete", "A", url=url, stdin="n\n").stderr
    assert done(url, "segments", "delete", "A", "--yes") == ["deleted A"]
    assert len(done(url, "segments", "list")) == 1
    assert "taken" in refused(url, "segments", "create", "B")
    assert "#/percent" in refused(url, "segments", "set-percent", "B", "101")
    assert "x" in refused(url, "segments", "set-percent", "B", "x", status=2)
    assert "'A/../B'" in refused(url, "segments", "delete", "A/../B", "--yes")


def test_layers(url: str) -> None:
    """A layer is formed, shown, rebalanced, changed and deleted; what needs a word is refused."""
    for slug, percent in (("A", "10"), ("B", "20"), ("C", "0")):
        done(url, "segments", "create", slug, "--percent", percent)
    assert "would enter B" in refused(url, "layers", "create", "L", "A", "B")
    shown = [["A", "10", "%"], ["B", "20", "%"], ["free", "70", "%"]]
    lines = done(url, "layers", "create", "L", "A", "B", "--redeal")
    assert [line.split() for line in lines] == shown
    assert done(url, "layers", "show", "L") == lines
    assert done(url, "layers", "show", "L", "--at", "2098-01-01T00:00:00Z") == lines
    assert [line.split() for line in done(url, "layers", "list")] == [["L", "A", "B"]]
    lines = done(url, "layers", "set-percents", "L", "A=75", "B=none")
    assert [line.split() for line in lines] == [["A", "75", "%"], ["B", "-"], ["free", "25", "%"]]
    assert "can have 25 %" in refused(url, "layers", "set-percents", "L", "B=25.01")
    for wrong, told, status in (("B", "'B'", 2), ("B=x", "'x'", 2), ("=1", "#/percents", 1)):
        assert told in refused(url, "layers", "set-percents", "L", wrong, status=status)
    assert "B=2" in refused(url, "layers", "set-percents", "L", "B=1", "B=2", status=2)
    assert len(done(url, "layers", "add", "L", "C")) == 4
    assert len(done(url, "layers", "remove", "L", "B")) == 3
    assert "Aborted" in run("layers", "delete", "L", url=url, stdin="n\n").stderr
    assert done(url, "layers", "delete", "L", "--yes", "--redeal") == ["deleted L"]
    assert "no live layer" in refused(url, "layers", "show", "L")


def test_conflicts(url: str) -> None:
    """A file names the users who are in another segment of the layer, or does what it is told."""
    for slug in "AB":
        done(url, "segments", "create", slug)
    done(url, "layers", "create", "L", "A", "B")
    done(url, "members", "add", "A", stdin="1\n2\n")
    told = refused(url, "members", "add", "B", stdin="3\n2\n")
    assert "#row=2: user 2 is by hand in A" in told
    counts = "received 2, changed 1, unchanged 0, skipped 1"
    assert done(url, "members", "add", "B", "--on-conflict", "skip", stdin="3\n2\n") == [counts]
    done(url, "members", "add", "B", "--on-conflict", "suspend", stdin="2\n")
    lines = done(url, "user", "2")
    assert lines[2] == "user 2 is suspended in 1 segments"
    assert "by hand, by B, since" in lines[3]


def test_nothing_controls_the_terminal(url: str) -> None:
    """What the service repeats is escaped: controls, C1, and what changes the order of reading."""
    done(url, "segments", "create", "A", "--description", "\x1b[31m \x9b1m \u202eabc é 用户")
    shown = r"\x1b[31m \x9b1m \u202eabc é 用户"
    assert done(url, "segments", "list")[0].endswith(shown)
    assert r"\x1b[31m" in refused(url, "segments", "delete", "A\x1b[31m", "--yes")


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff"])
def test_another_program_answers(body: bytes) -> None:
    """An answer that is not the service's is told as such."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert "does not answer as segsvc does" in refused(address, "segments", "list")


@pytest.mark.slow
def test_plan(url: str) -> None:
    """A ramp is planned, shown and cancelled; what is wrong with it is said."""
    done(url, "segments", "create", "A")
    ramp = ("segments", "plan", "A", "--ramp", "5,100,none", "--every", "12h")
    shown = [
        "2098-01-01T00:00:00.000000Z       5 %",
        "2098-01-01T12:00:00.000000Z     100 %",
        "2098-01-02T00:00:00.000000Z    manual",
    ]
    assert done(url, *ramp, "--from", "2098-01-01T03:00:00+03:00") == shown
    assert done(url, "segments", "plan", "A") == shown
    assert "plan" in refused(url, "segments", "set-percent", "A", "1")
    assert "1 %" in done(url, "segments", "set-percent", "A", "1", "--plan", "keep")[0]
    nothing = ["nothing is planned for A"]
    assert done(url, "segments", "plan", "A", "--cancel") == nothing
    assert done(url, "segments", "plan", "A") == nothing
    assert "steps/0/at" in refused(url, *ramp, "--from", "2024-01-01T00:00:00Z")
    for wrong in (
        (*ramp,),
        (*ramp, "--from", "2098-01-01"),
        (*ramp, "--from", "9999-12-31T23:00:00Z"),
        (*ramp, "--from", "2098-01-01T00:00:00Z", "--cancel"),
        ("segments", "plan", "A", "--ramp", "1,2", "--from", "2098-01-01T00:00:00Z"),
        (
            "segments",
            "plan",
            "A",
            "--ramp",
            "1,x",
            "--every",
            "1d",
            "--from",
            "2098-01-01T00:00:00Z",
        ),
        (
            "segments",
            "plan",
            "A",
            "--ramp",
            "1,2",
            "--every",
            "d",
            "--from",
            "2098-01-01T00:00:00Z",
        ),
    ):
        refused(url, *wrong, status=2)


@pytest.mark.slow
async def test_more_than_a_page(url: str, conn: Connection) -> None:
    """More segments, and more events of a user, than a page holds are all shown."""
    await conn.execute("""
        INSERT INTO segment (slug, description, created_at)
        SELECT 'S' || n, '', '2024-01-01' FROM generate_series(1, 2500) AS n;
        INSERT INTO users VALUES (1, '2024-01-01');
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        SELECT 1, s.id, TRUE, '2024-02-02' FROM segment AS s;
    """)
    slugs = sorted(f"S{n}" for n in range(1, 2501))
    assert [line.split()[0] for line in done(url, "segments", "list")] == slugs
    lines = done(url, "user", "1")
    assert [line.split()[2] for line in lines[lines.index("history") + 1 :]] == slugs


@pytest.mark.slow
def test_members(url: str, tmp_path: Path) -> None:
    """Members go in from a file, plain or compressed, or a pipe; they come out the same ways."""
    done(url, "segments", "create", "A")
    plain, compressed, out = tmp_path / "a.csv", tmp_path / "b.csv.gz", tmp_path / "out.csv"
    plain.write_text("user_id\n1\n2\n3\n")
    compressed.write_bytes(gzip.compress(b"3\n4\n"))
    added = "received {}, changed {}, unchanged {}".format
    assert done(url, "members", "add", "A", str(plain)) == [added(3, 3, 0)]
    assert done(url, "members", "add", "A", str(compressed)) == [added(2, 1, 1)]
    assert done(url, "members", "remove", "A", stdin="1\n9\n") == [added(2, 1, 1)]
    assert done(url, "members", "add", "A", "-", "--ttl", "60", stdin="5\n") == [added(1, 1, 0)]
    listed = done(url, "members", "list", "A")
    assert listed[0] == "user_id,source,since,expires_at"
    assert [line.split(",")[0] for line in listed[1:]] == ["2", "3", "4", "5"]
    assert done(url, "members", "list", "A", str(out)) == []
    assert out.read_text().splitlines() == listed
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.slow
def test_reader_has_enough(url: str) -> None:
    """A list whose reader goes away ends quietly."""
    done(url, "segments", "create", "A")
    done(url, "members", "add", "A", stdin="".join(f"{n}\n" for n in range(1, 100_000)))
    listed = subprocess.run(
        ["bash", "-c", f"{SEGSVC} members list A | head -n 1"],
        env=environment(url=url),
        capture_output=True,
        check=True,
    )
    assert (listed.stdout, listed.stderr) == (b"user_id,source,since,expires_at\n", b"")


@pytest.mark.slow
def test_members_refused(url: str, tmp_path: Path) -> None:
    """What the service refuses is said line by line, and nothing is changed."""
    done(url, "segments", "create", "A")
    said = refused(url, "members", "add", "A", stdin="1\nx\ny\n")
    assert "line 2 " in said
    assert "line 3 " in said
    long = "1\n" * 1_000_000
    for slug, options, word in (
        ("NONE", [], "NONE"),
        ("A", ["--expires-at", "2020-01-01T00:00:00Z"], "#/expires_at"),
        ("A", ["--ttl", "0"], "#/ttl"),
    ):
        assert word in refused(url, "members", "add", slug, "-", *options, stdin=long)
    assert "No such file" in refused(url, "members", "add", "A", "none.csv", status=2)
    assert "NONE" in refused(url, "members", "list", "NONE", str(tmp_path / "out.csv"))
    assert "cannot write" in refused(url, "members", "list", "A", str(tmp_path / "no" / "out.csv"))
    assert list(tmp_path.iterdir()) == []
    assert done(url, "members", "list", "A") == ["user_id,source,since,expires_at"]


@pytest.mark.slow
def test_replace(url: str, tmp_path: Path) -> None:
    """A file becomes the list, after a dry run; an empty one needs a word; sets are lists too."""
    for slug in ("A", "B"):
        done(url, "segments", "create", slug)
    done(url, "members", "add", "A", stdin="1\n2\n3\n")
    file = tmp_path / "users.csv"
    file.write_text("user_id\n3\n4\n")
    counts = "received 2, added 1, removed 2, unchanged 1"
    dry = done(url, "members", "replace", "A", str(file), "--dry-run")
    assert dry == [f"would be: {counts}"]
    assert done(url, "members", "replace", "A", str(file)) == [counts]
    assert "allow_empty" in refused(url, "members", "replace", "A")
    done(url, "members", "replace", "B", "--any-of", "A")
    assert len(done(url, "members", "list", "B")) == 3
    done(url, "members", "add", "B", stdin="9\n")
    none = ["members", "replace", "A", "--all-of", "A", "--all-of", "B", "--none-of", "A"]
    assert "allow_empty" in refused(url, *none)
    assert done(url, *none, "--allow-empty") == ["received 0, added 0, removed 2, unchanged 0"]
    assert "--any-of" in refused(url, "members", "add", "A", "--at", "2026-01-01", status=2)
    assert "#/at" in refused(url, "members", "add", "A", "--any-of", "B", "--at", "monday")
    assert "#/ttl" in refused(url, "members", "add", "A", "--any-of", "B", "--ttl", "0")
    assert "#/from/any_of/0" in refused(url, "segments", "copy", "NONE", "C")
    done(url, "segments", "copy", "B", "C", "--description", "like B")
    assert done(url, "members", "list", "C") == done(
        url, "members", "list", "C", "--source", "manual"
    )
    assert len(done(url, "members", "list", "C", "--source", "rollout")) == 1


def test_json(url: str) -> None:
    """With --json, each row is what the service answers, on one line."""
    created = rows(url, "segments", "create", "A", "--percent", "12.5")
    assert [row["percent"] for row in created] == [12.5]
    done(url, "segments", "create", "B")
    (counts,) = rows(url, "members", "add", "A", stdin="1\n")
    assert counts == {"received": 1, "changed": 1, "unchanged": 0}
    assert [row["slug"] for row in rows(url, "segments", "list", "--sort", "members")] == ["A", "B"]
    assert [row["slug"] for row in rows(url, "segments", "list", "--q", "b")] == ["B"]
    assert rows(url, "segments", "stats", "A", "--step", "hour")[-1]["joined"] == 1
    assert rows(url, "segments", "plan", "A") == []
    assert rows(url, "layers", "create", "L", "A", "B")[0]["free"] == 87.5
    assert rows(url, "layers", "list")[0]["segments"] == ["A", "B"]
    assert rows(url, "layers", "show", "L")[0]["slug"] == "L"
    (user,) = rows(url, "user", "1")
    assert [user["memberships"][0]["slug"], user["history"][0]["slug"]] == ["A", "A"]
    actions = [row["action"] for row in rows(url, "audit", "--limit", "2", "--slug", "A")]
    assert actions == ["segment.change", "members.add"]


def rows(url: str, *arguments: str, stdin: str = "") -> list[Any]:
    return [json.loads(line) for line in done(url, *arguments, "--json", stdin=stdin)]


def test_audit(url: str) -> None:
    """A line says when, who, what, and from what to what."""
    done(url, "segments", "create", "A", "--percent", "10")
    done(url, "segments", "set-percent", "A", "33.3")
    line, created = done(url, "audit")
    assert line.split()[1:] == ["-", "segment.change", "A", "percent", "10.0", "->", "33.3"]
    assert "percent 10.0" in created
    assert done(url, "audit", "--limit", "1") == [line]
    assert done(url, "audit", "--actor", "ann") == []


def test_erase(url: str) -> None:
    """A user is erased after a question, or at once with --yes."""
    done(url, "segments", "create", "A")
    done(url, "members", "add", "A", stdin="1\n")
    assert "Aborted" in run("user", "erase", "1", url=url, stdin="n\n").stderr
    assert len(done(url, "members", "list", "A")) == 2
    assert done(url, "user", "erase", "1", "--yes") == ["erased 1"]
    assert done(url, "user", "show", "1") == done(url, "user", "1")
    assert len(done(url, "members", "list", "A")) == 1


def test_user(url: str) -> None:
    """A user's segments are shown with their reasons, and what happened before."""
    done(url, "segments", "create", "A")
    done(url, "segments", "create", "B", "--percent", "100")
    done(url, "members", "add", "A", stdin="7\n")
    done(url, "members", "remove", "B", stdin="7\n")
    lines = done(url, "user", "7")
    assert lines[0] == "user 7 is in 1 segments"
    assert lines[1].split()[:3] == ["A", "by", "hand,"]
    assert lines[2] == "user 7 is excluded from 1 segments"
    assert ", 100 %)" in lines[3]
    events = [line.split()[1:] for line in lines[5:]]
    assert ["add", "A", "added"] in events
    assert ["remove", "B", "removed"] in events
    assert "0" in refused(url, "user", "0", status=2)


def test_no_service() -> None:
    """Without a service the exit status says that trying again is sound."""
    nobody = f"http://127.0.0.1:{free_port()}"
    for arguments in (["segments", "list"], ["members", "add", "A"], ["user", "1"]):
        assert "SEGSVC_URL" in refused(nobody, *arguments, status=3)


@pytest.mark.slow
def test_killed_client_changes_nothing(url: str) -> None:
    """A command that is killed in the middle of its file leaves nothing behind."""
    done(url, "segments", "create", "A")
    command = [SEGSVC, "members", "add", "A"]
    with subprocess.Popen(command, env=environment(url=url), stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"1\n" * 100_000)
        process.stdin.flush()
        process.kill()
        process.wait(TIMEOUT)
    assert done(url, "members", "list", "A") == ["user_id,source,since,expires_at"]
    assert done(url, "members", "add", "A", stdin="1\n") == ["received 1, changed 1, unchanged 0"]


@pytest.mark.parametrize("command", [[], ["segments"], ["members", "add"], ["user"], ["report"]])
def test_help_teaches(command: list[str]) -> None:
    """Each command explains itself."""
    text = run(*command, "--help").stdout
    assert text.startswith("Usage: segsvc")
    assert len(text.splitlines()) > 6
