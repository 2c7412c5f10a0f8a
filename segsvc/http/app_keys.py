"""What the application holds for its handlers, by typed keys."""

from aiohttp import web

from segsvc.db.dedicated import DedicatedConnections
from segsvc.db.pool import Pool
from segsvc.db.quotas import Quotas
from segsvc.settings import Limits

LIMITS = web.AppKey("limits", Limits)
POOL = web.AppKey("pool", Pool)

# Dedicated connections for CSV streams, and for files of members.
EXPORTS = web.AppKey("exports", DedicatedConnections)
IMPORTS = web.AppKey("imports", DedicatedConnections)

# What the API keys may use.
QUOTAS = web.AppKey("quotas", Quotas)
