"""The log on standard error: JSON lines for machines, short lines on a terminal.

The formatter is ours: the access log builds its line by hand, because the logging package takes ten
times as long, so a formatter library would be a second way to do the same.
"""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from segsvc.observability import request_ids
from segsvc.observability.printable import printable

# Seconds for which access log lines are collected, to be written together.
FLUSH_DELAY = 0.1


class _Output:
    """Standard error, with delayed writes for the access log."""

    def __init__(self) -> None:
        self.terminal = False
        self._waiting: list[str] = []

    def write(self, text: str) -> None:
        self._waiting.append(text)

    def write_soon(self, text: str) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(FLUSH_DELAY, self.flush)
        self._waiting.append(text)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        sys.stderr.write("".join(waiting))
        sys.stderr.flush()


_OUTPUT = _Output()


def configure(level: str) -> None:
    """Log records of `level` and above; of other packages, warnings and above."""
    _OUTPUT.terminal = sys.stderr.isatty()
    handler = logging.StreamHandler(_OUTPUT)
    handler.setFormatter(Lines() if _OUTPUT.terminal else _Json())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("segsvc").setLevel(level)


def request_line(  # noqa: PLR0913 (the fields of the line)
    *, method: str, route: str, path: str, status: int, seconds: float, size: int, remote: str
) -> None:
    """Write the access log line of a request.

    `path` must be percent-encoded, as it was sent, and without the query, which may contain the
    signature of a link.
    """
    now, ms = datetime.now(UTC), seconds * 1000
    if _OUTPUT.terminal:
        asked = printable(f"{method} {path}")
        _OUTPUT.write_soon(f"{_clock(now)} {asked} {status} in {ms:.1f} ms\n")
        return
    ids = request_ids.CURRENT.get()
    request_id = f', "request_id": "{ids.request_id}"' if ids else ""
    trace_id = f', "trace_id": "{ids.trace_id}"' if ids and ids.trace_id else ""
    _OUTPUT.write_soon(
        f'{{"time": "{_rfc3339(now)}", "level": "info", "logger": "segsvc.access",'
        f' "method": {quoted(method)}, "route": "{route}", "path": {quoted(path)},'
        f' "status": {status}, "ms": {ms:.2f}, "bytes": {size}, "remote": "{remote}"'
        f"{request_id}{trace_id}}}\n"
    )


class _Json(logging.Formatter):
    """JSON: time, level, logger, message, and the ids of the request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if ids := request_ids.CURRENT.get():
            line["request_id"] = ids.request_id
            if ids.trace_id:
                line["trace_id"] = ids.trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Lines(logging.Formatter):
    """Short lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`, and its traceback."""
        now = datetime.fromtimestamp(record.created, UTC)
        line = f"{_clock(now)} {record.levelname} {printable(record.getMessage())}"
        if ids := request_ids.CURRENT.get():
            line += f" (request {ids.request_id})"
        if record.exc_info:
            traceback = self.formatException(record.exc_info).splitlines()
            line = "\n".join([line, *map(printable, traceback)])
        return line


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
