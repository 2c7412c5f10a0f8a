"""The pages of the report of a month, of the audit log, and of the keys."""

from aiohttp import web

from segsvc.api.audit import store as audit
from segsvc.api.audit.schemas import AUDIT_PAGE
from segsvc.api.reports.handlers import make_link
from segsvc.api.reports.schemas import NEW_REPORT
from segsvc.auth import store as keys
from segsvc.auth.roles import Role
from segsvc.console.forms import Form, Shown, form_page
from segsvc.console.pages import done, page, render
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http.app_keys import POOL
from segsvc.http.problems import NotFound
from segsvc.http.requests import author, load

PAGE_SIZE = 50


@page("/console/audit")
async def show_audit(request: web.Request) -> web.Response:
    """Show who changed what, the newest change first."""
    form = Form(request.query)
    asked = load(AUDIT_PAGE, form.given(slug=str, actor=str, after=str))
    async with connection(request.app[POOL]) as conn:
        found = await audit.list_page(
            conn, asked["after"], PAGE_SIZE + 1, asked["slug"], asked["actor"]
        )
    following = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
    context = {"entries": found[:PAGE_SIZE], "next": following, "form": form}
    return render(request, "audit.html", context)


async def _month(request: web.Request, form: Form) -> Shown:
    async with connection(request.app[POOL]) as conn:
        now = await clock.now(conn)
    return {"month": form["period"] or f"{now:%Y-%m}", "link": None}


@form_page("/console/report", "report.html", _month)
async def make_report(request: web.Request, form: Form) -> web.StreamResponse | Shown:
    """Make the link to the report of a month, for one user or for all."""
    body = {"period": form["period"], **form.given(user_id=str)}
    link, expires_at = await make_link(request.app, load(NEW_REPORT, body))
    return {"link": f"/api/v1/reports/{link}", "expires_at": expires_at}


@page("/console/keys", role=Role.EDITOR)
async def show_keys(request: web.Request) -> web.Response:
    """List the keys, those that are revoked too."""
    async with connection(request.app[POOL]) as conn:
        return render(request, "keys.html", {"keys": await keys.list_all(conn)})


async def _key(request: web.Request, form: Form) -> Shown:
    del form
    name = request.match_info["name"]
    async with connection(request.app[POOL]) as conn:
        found = {key.name: key for key in await keys.list_all(conn)}
    if name not in found:
        raise NotFound("no key has this name")
    return {"key": found[name]}


@form_page("/console/keys/{name}/revoke", "revoke.html", _key)
async def revoke_key(request: web.Request, form: Form) -> web.Response:
    """Revoke a key; within seconds, requests with it are refused."""
    name = (await _key(request, form))["key"].name
    async with connection(request.app[POOL]) as conn, conn.transaction():
        if not await keys.revoke(conn, name):
            raise NotFound("no key of this name is valid: it was revoked already")
        await audit.record(conn, author(request), "key.revoke", name, {})
    return done("/console/keys", "revoked", name=name)
