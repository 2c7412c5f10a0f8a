"""An example of each problem, as the service answers it."""

from datetime import UTC, datetime
from decimal import Decimal

from segsvc.http import problems
from segsvc.http.problems import Problem

_EXAMPLES = (
    problems.NotJson("the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
    problems.MalformedRequest(),
    problems.BrokenBody("the body does not arrive whole in its Content-Encoding"),
    problems.KeyRequired("send a key, in the header Authorization: Bearer KEY"),
    problems.EditorRequired("shop", "reader"),
    problems.FollowerRequired("shop", "reader"),
    problems.Forbidden("the link has expired: make another"),
    problems.NotFound("no route has the path /api/v1/segment"),
    problems.SegmentNotFound("VOICE_MESSAGES"),
    problems.MethodNotAllowed("use GET, POST", headers={"Allow": "GET, POST"}),
    problems.TooSlow("nothing came for 30 seconds"),
    problems.SlugTaken("VOICE_MESSAGES is live: delete it first, or take another slug"),
    problems.LayerNotFound("DISCOUNTS"),
    problems.LayerSlugTaken("DISCOUNTS"),
    problems.InAnotherLayer(
        [{"pointer": "#/segments/0", "detail": "DISCOUNT_30 is in the layer PRICES"}]
    ),
    problems.NotEnoughFree("DISCOUNT_30", Decimal(40), datetime(2026, 12, 1, tzinfo=UTC)),
    problems.RedealNeeded(
        [
            {
                "pointer": "#/segments/1",
                "detail": "of the known users, 70 would enter DISCOUNT_50 and 70 leave it",
            }
        ]
    ),
    problems.ElsewhereInLayer(
        [{"pointer": "#/add/0", "detail": problems.elsewhere(1000, "DISCOUNT_50", None)}],
        ("move", "suspend"),
    ),
    problems.PlanPending(),
    problems.PlanChanged(),
    problems.EventsGone(datetime(2026, 1, 1, tzinfo=UTC)),
    problems.TooLarge("the limit is 262144 bytes"),
    problems.UnsupportedMediaType("send JSON with the header Content-Type: application/json"),
    problems.UnsupportedExpectation(),
    problems.InvalidRequest([{"pointer": "#/expire_at", "detail": "Unknown field"}]),
    problems.WrongFormat(
        "the file is a zip archive or an Excel workbook: save it as CSV; send one user id a line,"
        " or CSV with a header that has one column user_id; nothing was changed"
    ),
    problems.InvalidLines({3: "100oo2"}, more=False),
    problems.NobodyListed(),
    problems.UnknownSegments(
        [{"pointer": "#/add/0", "detail": "no live segment has the slug DISCOUNT_03"}]
    ),
    problems.TooManyRequests(500),
    problems.TooManyNewUsers(1000),
    problems.InternalError(),
    problems.Busy("as many of these as allowed are under way: try again in a moment"),
    problems.IncompleteReport(
        "1 transactions that may have written before 2026-12-01T00:00:00.000000Z are still under"
        " way: try again when they have ended"
    ),
    problems.WrongSetup("permission denied for table users"),
    problems.ReadOnly("the server is a standby: it takes writes when it is promoted"),
    problems.WrongSchema("the schema is older than this version of segsvc: run `segsvc migrate`"),
    problems.DatabaseUnavailable(),
)

EXAMPLES: dict[type[Problem], Problem] = {type(problem): problem for problem in _EXAMPLES}
