"""Open files: each connection is one, and the operating system limits those of a process."""

import logging
import resource
from contextlib import suppress
from dataclasses import replace

from segsvc.settings import Limits

log = logging.getLogger(__name__)

# Connections that a process keeps besides the pool: for reads, changes, evaluations of one flag and
# of all, and keys.
KEPT_CONNECTIONS = 5

# Connections of clients that get a 503 and are closed; more than these get no answer.
REFUSED_CLIENTS = 50

# Sockets that listen, the files of the metrics, the log, files that Python opens for a moment.
OTHERS = 40


class TooFewOpenFiles(Exception):  # noqa: N818 (a state of the machine, not a mistake)
    """The limit of open files leaves no connection for a client."""


def within_open_files(limits: Limits) -> Limits:
    """Return `limits`, with fewer connections of clients if files are short.

    The soft limit of open files is raised as far as necessary and as the hard limit allows.

    Raises:
        TooFewOpenFiles: none may be connected.
    """
    own = limits.pool + limits.exports + limits.imports + KEPT_CONNECTIONS + REFUSED_CLIENTS
    files = _raise_limit(own + OTHERS + limits.connections)
    most = min(limits.connections, files - own - OTHERS)
    if most < 1:
        raise TooFewOpenFiles(
            f"{files} open files are too few for the connections to the database: raise the limit"
            f" (ulimit -n) to {own + OTHERS + limits.connections}, or set SEGSVC_POOL_SIZE lower"
        )
    if most < limits.connections:
        log.warning(
            "%d clients may be connected, not %d: the limit of open files is %d (ulimit -n)",
            *(most, limits.connections, files),
        )
    return replace(limits, connections=most)


def _raise_limit(wanted: int) -> int:
    """Raise the soft limit of open files to `wanted` if that is possible; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # a system may have further limits
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft
