"""`segsvc check`: look for broken invariants. The statements only read."""

from collections.abc import AsyncIterator

from segsvc.api.users.store import LIST_AT
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

OVERLAPPING_PERIODS = statement("maintenance/find_overlapping_periods")
PERIODS_OUTSIDE_SEGMENTS = statement("maintenance/find_periods_outside_segments")
PERIODS_OF_UNKNOWN_USERS = statement("maintenance/find_periods_of_unknown_users")
ROLLOUTS_OUTSIDE_SEGMENTS = statement("maintenance/find_rollouts_outside_segments")
OVERLAPPING_LIVES = statement("maintenance/find_overlapping_lives")
WRONG_POINTS = statement("maintenance/find_wrong_points")
SHARED_POINTS = statement("maintenance/find_shared_points")
ROLLOUTS_OUTSIDE_LAYERS = statement("maintenance/find_rollouts_outside_layers")
LAYERS_OUTSIDE_LIVES = statement("maintenance/find_layers_outside_lives")
LIST_USERS = statement("maintenance/list_users")
REPLAY = statement("maintenance/replay")

STRUCTURE = {
    "a period starts before an earlier one ends": OVERLAPPING_PERIODS,
    "a period starts outside the life of its segment": PERIODS_OUTSIDE_SEGMENTS,
    "a period belongs to a user who is not registered": PERIODS_OF_UNKNOWN_USERS,
    "a rollout starts outside the life of its segment": ROLLOUTS_OUTSIDE_SEGMENTS,
    "a segment was created before the earlier one with its slug was deleted": OVERLAPPING_LIVES,
    "a rollout has more or fewer points than its percentage": WRONG_POINTS,
    "a rollout has points of another segment of its layer": SHARED_POINTS,
    "a rollout is not in the layer of its segment": ROLLOUTS_OUTSIDE_LAYERS,
    "a segment is in a layer outside the life of one of them": LAYERS_OUTSIDE_LIVES,
}

BATCH = 1000


async def structure(conn: Connection) -> list[str]:
    """Return the broken rules of single rows, each with its place."""
    found = []
    for wrong, query in STRUCTURE.items():
        for row in await conn.fetch(query):
            place = ", ".join(f"{name} {value}" for name, value in row.items())
            found.append(f"{wrong}: {place}")
    return found


async def replay(conn: Connection) -> AsyncIterator[tuple[int, list[str]]]:
    """Replay the events of all users; yield for each batch the number of users and the faults.

    Events must alternate, at most one segment of a layer has a user at any time, and replayed up to
    now the events must give the current segments.
    """
    after = 0
    while user_ids := [row["id"] for row in await conn.fetch(LIST_USERS, after, BATCH)]:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            read = await conn.fetch(LIST_AT, user_ids, None)
            replayed = await conn.fetch(REPLAY, user_ids)
        found = []
        for now, then in zip(read, replayed, strict=True):
            if now["segments"] != then["segments"]:
                found.append(
                    f"events and reads disagree: user {now['user_id']} is in {now['segments']},"
                    f" and by the events in {then['segments']}"
                )
            if not then["alternates"]:
                found.append(f"events do not alternate: user {now['user_id']}")
            if not then["apart"]:
                found.append(f"two segments of a layer had a user at once: user {now['user_id']}")
        yield len(user_ids), found
        after = user_ids[-1]
