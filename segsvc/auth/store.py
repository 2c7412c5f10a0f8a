"""Statements about API keys."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

CREATE = statement("auth/create_key")
LIST = statement("auth/list_keys")
REVOKE = statement("auth/revoke_key")


@dataclass(frozen=True)
class Key:
    """An API key; `hash` is that of its secret, `revoked_at` is None while the key is valid."""

    name: str
    role: Role
    hash: bytes
    created_at: datetime
    revoked_at: datetime | None


def hash_of(secret: str) -> bytes:
    """Return the hash that is stored: the secret is random, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


async def create(conn: Connection, name: str, role: Role) -> str | None:
    """Create a key and return it, to be shown once; None if the name was ever used."""
    secret = secrets.token_urlsafe(32)
    created = await conn.fetchval(CREATE, name, role, hash_of(secret))
    return f"{name}.{secret}" if created else None


async def list_all(conn: Connection) -> list[Key]:
    """Return all keys, revoked ones included, in the order of their names."""
    rows = await conn.fetch(LIST)
    return [Key(**{**row, "role": Role(row["role"])}) for row in rows]


async def revoke(conn: Connection, name: str) -> bool:
    """Revoke a key; return whether there was a valid one."""
    return await conn.fetchval(REVOKE, name) is not None
