"""What the application holds for its handlers, by typed keys."""

from aiohttp import web

from segsvc.db.dedicated import DedicatedConnections
from segsvc.db.pool import Pool, Turns
from segsvc.db.quotas import Quotas
from segsvc.settings import Limits

LIMITS = web.AppKey("limits", Limits)
POOL = web.AppKey("pool", Pool)

# Dedicated connections for CSV streams, and for files of members.
EXPORTS = web.AppKey("exports", DedicatedConnections)
IMPORTS = web.AppKey("imports", DedicatedConnections)

# What the API keys may use.
QUOTAS = web.AppKey("quotas", Quotas)

# Reads of many users take turns in a worker, so that they leave PostgreSQL to the hot reads: with
# two at once on two cores, the p99 of these was 61 ms, and with one 14 ms.
LARGE_READS = web.AppKey("large_reads", Turns)
