"""The examples against a running service."""

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any, ClassVar
from urllib.request import urlopen

import pytest
from standardwebhooks import Webhook

from tests import ROOT
from tests.processes import TIMEOUT, environment, serving, until
from tests.processes import run as run_command


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(data_dir=str(tmp_path / "data")) as (url, _):
        yield url


def run(url: str, name: str, *arguments: str) -> str:
    """Run an example to its end and return what it prints."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        env=environment(url=url) | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_examples(url: str, tmp_path: Path) -> None:
    """An analyst starts an experiment, and a backend asks about users."""
    testers = tmp_path / "testers.csv"
    testers.write_text("user_id\n1000\n1001\n1002\n")
    started = run(url, "experiment.py", "CHECKOUT_V2", "0", str(testers)).splitlines()
    assert started[:2] == [
        "3 users added, 0 were in by hand already",
        "3 users are in by hand, and 0 % of all users automatically",
    ]
    with urlopen(started[2].removeprefix("report: ")) as report:  # noqa: S310 (our own address)
        assert len(report.read().splitlines()) == 3
    again = run(url, "experiment.py", "CHECKOUT_V2", "0", str(testers))
    assert again.startswith("0 users added, 3 were in")

    assert run(url, "backend.py", "1000", "CHECKOUT_V2") == "user 1000 is in CHECKOUT_V2\n"
    assert run(url, "backend.py", "7", "CHECKOUT_V2") == "user 7 is not in CHECKOUT_V2\n"


@contextmanager
def running(url: str, name: str, *arguments: str, **variables: str) -> Iterator[Popen[str]]:
    """Run an example that goes on until it is stopped."""
    process = Popen(
        [sys.executable, ROOT / "examples" / name, *arguments],
        env=environment(url=url) | {"NO_PROXY": "127.0.0.1"} | variables,
        stdout=PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT)


def lines(process: Popen[str], count: int) -> list[str]:
    """Return so many lines of what a process prints."""
    assert process.stdout
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def segsvc(url: str, *arguments: str) -> None:
    """Run a command that succeeds."""
    done = run_command(*arguments, url=url)
    assert done.returncode == 0, done.stderr


def test_crm_sync(url: str, tmp_path: Path) -> None:
    """The list of the CRM becomes that of the members, and follows it, over a kill and a prune."""
    testers = tmp_path / "testers.csv"
    testers.write_text("1000\n1001\n1002\n")
    segsvc(url, "segments", "create", "TESTERS")
    segsvc(url, "members", "add", "TESTERS", str(testers))
    crm = tmp_path / "crm.txt"
    crm.write_text("7\n1000\n")
    with running(url, "crm_sync.py", "TESTERS", str(crm)) as process:
        assert lines(process, 1) == ["3 members"]
        testers.write_text("1001\n1003\n")
        segsvc(url, "members", "replace", "TESTERS", str(testers))
        assert sorted(set(lines(process, 3))) == [
            "add 1003 added",
            "remove 1000 removed",
            "remove 1002 removed",
        ]
    segsvc(url, "members", "remove", "TESTERS", str(testers))
    with running(url, "crm_sync.py", "TESTERS", str(crm)) as process:
        until(lambda: crm.read_text() == "")
    cursor = tmp_path / "crm.txt.cursor"
    cursor.write_text("0_0_0")
    assert run_command("relist", data_dir=str(tmp_path / "data")).returncode == 0
    with running(url, "crm_sync.py", "TESTERS", str(crm)) as process:
        assert lines(process, 1) == ["0 members"]


class Receiver(BaseHTTPRequestHandler):
    """Verifies webhooks with the public package, and answers as the test says."""

    secret = base64.b64encode(b"a secret of the tests of webhooks").decode()
    received: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    answer: ClassVar[Callable[[], int]] = lambda: 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = Webhook(f"whsec_{self.secret}").verify(body, dict(self.headers))
        self.received.append((self.headers["webhook-id"], event))
        self.send_response(type(self).answer())
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_webhook_sender(url: str, tmp_path: Path) -> None:
    """A sender that is killed when it has delivered sends again with the same id; none is lost."""
    testers = tmp_path / "testers.csv"
    testers.write_text("".join(f"{number}\n" for number in range(1, 21)))
    segsvc(url, "segments", "create", "TESTERS")
    cursor = tmp_path / "cursor"
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=receiver.serve_forever, daemon=True).start()
    arguments = (f"http://127.0.0.1:{receiver.server_port}/hooks", str(cursor))
    secret = {"WEBHOOK_SECRET": f"whsec_{Receiver.secret}"}
    senders: list[Popen[str]] = []

    def kill_or_refuse() -> int:
        """Kill the sender at each fifth webhook, before it has the answer; refuse each seventh."""
        if len(Receiver.received) % 5 == 0:
            senders[-1].kill()
        return 500 if len(Receiver.received) % 7 == 0 else 204

    Receiver.answer = staticmethod(kill_or_refuse)
    try:
        with running(url, "webhook_sender.py", *arguments, **secret) as process:
            senders.append(process)
            until(cursor.exists)
            segsvc(url, "members", "add", "TESTERS", str(testers))
            process.wait(TIMEOUT)
        while len({each for each, _ in Receiver.received}) < 20:
            with running(url, "webhook_sender.py", *arguments, **secret) as process:
                senders.append(process)
                until(
                    lambda process=process: (  # type: ignore[misc]
                        process.poll() is not None
                        or len({each for each, _ in Receiver.received}) == 20
                    )
                )
    finally:
        receiver.shutdown()
        receiver.server_close()
    by_id = dict(Receiver.received)
    assert len(Receiver.received) > len(by_id) == 20
    assert [event["data"]["user_id"] for event in by_id.values()] == list(range(1, 21))
    assert all(event == by_id[each] for each, event in Receiver.received)
    assert {event["type"] for event in by_id.values()} == {"segment.add"}
