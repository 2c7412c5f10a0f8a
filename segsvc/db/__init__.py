"""PostgreSQL: connection pool, batching, SQL files, migrations."""
