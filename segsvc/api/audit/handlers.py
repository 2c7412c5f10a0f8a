"""The audit log: list it."""

from aiohttp import web

from segsvc.api.audit import store
from segsvc.api.audit.schemas import AUDIT_PAGE, ENTRY_LIST
from segsvc.auth.roles import Role
from segsvc.db.pool import connection
from segsvc.http.app_keys import POOL
from segsvc.http.requests import read_query
from segsvc.http.responses import list_response
from segsvc.http.routes import Routes

ROUTES = Routes("audit", "Who changed segments, layers and keys, from what to what")


@ROUTES.get("/audit", role=Role.EDITOR, query=AUDIT_PAGE, answers=(ENTRY_LIST,))
async def list_changes(request: web.Request) -> web.Response:
    """List a page of the audit log, the newest change first."""
    page = read_query(request, AUDIT_PAGE)
    limit = page["limit"]
    async with connection(request.app[POOL]) as conn:
        entries = await store.list_page(conn, **page | {"limit": limit + 1})
    following = entries[limit - 1].id if len(entries) > limit else None
    return await list_response(
        ENTRY_LIST, {"entries": entries[:limit], "next": following}, len(entries)
    )
