"""The statements about keys."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

CREATE = statement("auth/create_key")
LIST = statement("auth/list_keys")
REVOKE = statement("auth/revoke_key")

READER = "reader"
EDITOR = "editor"


@dataclass(frozen=True)
class Key:
    """A key: its name, its role, the hash of its secret, and its life."""

    name: str
    role: str
    hash: bytes
    created_at: datetime
    revoked_at: datetime | None


def hash_of(secret: str) -> bytes:
    """Return what is stored of a secret: it is random, so one round of SHA-256 hides it."""
    return hashlib.sha256(secret.encode()).digest()


async def create(conn: Connection, name: str, role: str) -> str | None:
    """Create a key and return it, to be shown once; None if the name was ever given."""
    secret = secrets.token_urlsafe(32)
    created = await conn.fetchval(CREATE, name, role, hash_of(secret))
    return f"{name}.{secret}" if created else None


async def list_all(conn: Connection) -> list[Key]:
    """Return all keys, those that were revoked too, in the order of their names."""
    return [Key(**row) for row in await conn.fetch(LIST)]


async def revoke(conn: Connection, name: str) -> bool:
    """Revoke a key; return whether there was one."""
    return await conn.fetchval(REVOKE, name) is not None
