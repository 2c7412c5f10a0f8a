"""Time passes in tests by moving what is stored into the past, not by waiting."""

from datetime import timedelta

from segsvc.db.pool import Connection


async def pass_time(conn: Connection, span: timedelta) -> None:
    """Move every stored time back by `span`, which is what its passing would have looked like."""
    async with conn.transaction():
        # Taken out and put back whole: row by row, neighbouring rollouts would overlap on the way.
        await conn.execute("CREATE TEMP TABLE moved ON COMMIT DROP AS TABLE rollout")
        await conn.execute("DELETE FROM rollout")
        for table, first, last in (
            ("segment", "created_at", "deleted_at"),
            ("membership", "valid_from", "valid_to"),
            ("layer", "created_at", "deleted_at"),
            ("layer_segment", "valid_from", "valid_to"),
            ("moved", "valid_from", "valid_to"),
            ("users", "first_seen_at", "first_seen_at"),
            ("audit", "at", "at"),
            ("feed", "horizon", "pruned_before"),
        ):
            columns = dict.fromkeys((first, last))
            moves = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
            await conn.execute(f"UPDATE {table} SET {moves}", span)  # noqa: S608 (names above)
        await conn.execute("""
            INSERT INTO rollout (
                segment_id, layer_id, percent, salt, points, valid_from, valid_to, planned,
                opened_by, closed_by
            )
            SELECT
                segment_id, layer_id, percent, salt, points, valid_from, valid_to, planned,
                opened_by, closed_by
            FROM moved
        """)
