"""Settings: environment variables, checked at start, all mistakes reported at once."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.db.url import DatabaseUrl, WrongUrl, is_host

PREFIX = "SEGSVC_"

# Far above what a machine can use, so that a mistake in the number of zeros is found at the start.
MAX_WORKERS = 64
MAX_SLOTS = 1000
MAX_CLIENTS = 100_000
MAX_SECONDS = 3600
MAX_BODY = 2**30
MAX_LINES = 10**9
MAX_IMPORT_BYTES = 2**40

# Characters of a secret. Half as many must be different.
LEAST_SECRET = 16

# That of docker-compose.yml. Everyone knows it, so it signs links only while everyone may do
# everything.
PUBLISHED_SECRET = "only for trying it out at home"  # noqa: S105

_ORIGIN = re.compile(r"https?://[^\s/?#@\[\]]+|https?://\[[0-9A-Fa-f:.]+\](:\d+)?")

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one process of the service.

    Attributes:
        body: bytes of a JSON body, decoded.
        items: slugs or user ids in one list of a request.
        page: rows of a page.
        import_lines: user ids in a file of members.
        import_bytes: bytes of a file of members, as it is sent and decoded.
        imports: files of members received at once.
        exports: reports and lists streamed at once.
        pool: connections for requests.
        waiting: requests that wait for one of these; more are told to come back.
        connections: clients connected at once; more are told to come back.
        connections_per_address: the same for one address, None for no such limit.
        requests_per_key: requests under way of one API key, None for half of `connections`.
        new_users: users who become known in a second by the questions of one API key.
        statement_seconds: what a statement of a request may take.
        stall_seconds: in which a client must send or take something more.
    """

    body: int = 256 * 1024
    items: int = 1000
    page: int = 1000
    import_lines: int = 10_000_000
    import_bytes: int = 2**30
    imports: int = 2
    exports: int = 2
    pool: int = 10
    waiting: int = 100
    connections: int = 1000
    connections_per_address: int | None = None
    requests_per_key: int | None = None
    new_users: int = 1000
    statement_seconds: int = 10
    stall_seconds: int = 30

    @property
    def most_per_key(self) -> int:
        """How many requests of one API key may be under way."""
        return self.requests_per_key or max(1, self.connections // 2)


DEFAULT_LIMITS = Limits()


class SettingsError(Exception):
    """One or more settings are wrong; the message names each."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator can set. `database_url` is None for the embedded PostgreSQL."""

    database_url: str | None
    data_dir: Path
    host: str
    port: int
    url: str
    workers: int
    secret: str | None
    public_url: str | None
    cors_origins: frozenset[str]
    limits: Limits
    key: str | None
    allow_anonymous: bool
    log_level: str

    @property
    def anonymous(self) -> bool:
        """Whether everyone may do everything while there is no key."""
        try:
            local = ip_address(self.host).is_loopback
        except ValueError:
            local = self.host == "localhost"
        return local or self.allow_anonymous

    @classmethod
    def load(cls, environ: Mapping[str, str], *, serving: bool = False) -> Self:
        """Read the settings from environment variables; an empty one counts as unset.

        Those who serve a database of their own need a secret too.

        Raises:
            SettingsError: a value is wrong, or a `SEGSVC_` variable is none of ours, which is
                more likely a misspelt setting than anything else.
        """
        given = {k: v for k, v in environ.items() if k.startswith(PREFIX) and v}
        try:
            _refuse_control_characters(given)
            settings: Self = _Environment(serving=serving).load(given)
        except ValidationError as error:
            wrong = error.messages_dict
            lines = sorted(f"  {name}: {detail}" for name in wrong for detail in wrong[name])
            raise SettingsError("\n".join(["these settings are wrong:", *lines])) from None
        return settings


def _refuse_control_characters(given: Mapping[str, str]) -> None:
    """Refuse what no setting has: a file with the line ends of Windows adds one to each value."""
    detail = "must not contain line ends, other control characters, or text that is not UTF-8"
    if wrong := {name: [detail] for name, value in given.items() if not value.isprintable()}:
        raise ValidationError(wrong)


def default_workers() -> int:
    """One for each core, up to four: each has connections of its own."""
    return min(os.cpu_count() or 1, 4)


def _is_database_url(value: str) -> None:
    try:
        DatabaseUrl.parse(value)
    except WrongUrl as error:
        raise ValidationError(str(error)) from None


def _is_host(value: str) -> None:
    if not is_host(value):
        raise ValidationError("must be an address or a host name, without a port")


def _is_base_url(value: str) -> None:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:
        raise ValidationError("must have a port from 1 to 65535, if any") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValidationError("must have no user, password, query or fragment")


def _is_secret(value: str) -> None:
    if len(value) < LEAST_SECRET or len(set(value)) < LEAST_SECRET // 2:
        raise ValidationError(
            "must have 16 characters at least, not the same few ones: take the output of"
            " `openssl rand -hex 32`"
        )


def _is_plain_path(value: str) -> None:
    # The package that starts the embedded server hands the path to a shell unquoted.
    if any(character.isspace() or character in "'\"\\$`" for character in value):
        raise ValidationError("must be a path without blanks, quotes, backslashes and dollars")


def _origins(value: str) -> frozenset[str]:
    """The origins of pages, with commas between: scheme, host and port, and nothing else."""
    origins = frozenset(origin.strip() for origin in value.split(","))
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValidationError("must look like https://app.example.com,https://www.example.com")
        if origin != (sent := _as_browsers_send(origin)):
            raise ValidationError(f"write {sent} for {origin}, as browsers do")
    return origins


def _as_browsers_send(origin: str) -> str:
    """Return an origin in the form that browsers send (RFC 6454, section 6.2).

    Raises:
        ValidationError: it is not an origin.
    """
    parts = urlsplit(origin)
    try:
        name, port = parts.hostname or "", parts.port
        host = str(ip_address(name)) if ":" in name else name.encode("idna").decode()
    except ValueError as error:
        raise ValidationError(f"{origin} is not an origin: {error}") from None
    if not is_host(host):
        raise ValidationError(f"{origin} is not an origin: it has no host")
    default = {"http": 80, "https": 443}[parts.scheme]
    in_brackets = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{in_brackets}" + ("" if port in {None, default} else f":{port}")


def _number(
    variable: str,
    default: int | Callable[[], int] | None,
    *,
    least: int = 1,
    most: int | None = None,
) -> fields.Integer:
    wrong = f"must be a number from {least}" + (f" to {most}" if most else " up")
    return fields.Integer(
        data_key=variable,
        load_default=default,
        validate=validate.Range(least, most, error=wrong),
        error_messages={"invalid": wrong},
    )


def _url(variable: str, default: str | None) -> fields.Url:
    return fields.Url(
        data_key=variable,
        load_default=default,
        schemes={"http", "https"},
        require_tld=False,
        validate=_is_base_url,
        error_messages={"invalid": "must look like https://segments.example.com"},
    )


class _Environment(Schema):
    """The variables and their ranges."""

    error_messages = {"unknown": "there is no such setting"}  # noqa: RUF012 (marshmallow's way)

    database_url = fields.String(
        data_key="SEGSVC_DATABASE_URL", load_default=None, validate=_is_database_url
    )
    data_dir = fields.String(
        data_key="SEGSVC_DATA_DIR", load_default=".data", validate=_is_plain_path
    )
    host = fields.String(data_key="SEGSVC_HOST", load_default="127.0.0.1", validate=_is_host)
    port = fields.Integer(
        data_key="SEGSVC_PORT",
        load_default=8080,
        validate=validate.Range(1, 65535, error="must be a port, from 1 to 65535"),
        error_messages={"invalid": "must be a port, from 1 to 65535"},
    )
    workers = _number("SEGSVC_WORKERS", default_workers, most=MAX_WORKERS)
    url = _url("SEGSVC_URL", "http://127.0.0.1:8080")
    secret = fields.String(
        data_key="SEGSVC_SECRET",
        load_default=None,
        validate=_is_secret,
    )
    key = fields.String(
        data_key="SEGSVC_KEY",
        load_default=None,
        validate=validate.Regexp(
            r"[!-~]+\.[!-~]+\Z",
            error="must be a key as `segsvc keys create` printed it: NAME.SECRET",
        ),
    )
    allow_anonymous = fields.String(
        data_key="SEGSVC_ALLOW_ANONYMOUS",
        load_default="0",
        validate=validate.OneOf(["0", "1"], error="must be 0 or 1"),
    )
    cors_origins = fields.Function(
        data_key="SEGSVC_CORS_ORIGINS", deserialize=_origins, load_default=frozenset()
    )
    body = _number("SEGSVC_MAX_BODY", DEFAULT_LIMITS.body, least=1024, most=MAX_BODY)
    items = _number("SEGSVC_MAX_ITEMS", DEFAULT_LIMITS.items, most=1000)
    page = _number("SEGSVC_MAX_PAGE", DEFAULT_LIMITS.page, most=1000)
    import_lines = _number("SEGSVC_IMPORT_LIMIT", DEFAULT_LIMITS.import_lines, most=MAX_LINES)
    import_bytes = _number(
        "SEGSVC_MAX_IMPORT_BYTES", DEFAULT_LIMITS.import_bytes, least=1024, most=MAX_IMPORT_BYTES
    )
    imports = _number("SEGSVC_MAX_IMPORTS", DEFAULT_LIMITS.imports, most=MAX_SLOTS)
    exports = _number("SEGSVC_MAX_EXPORTS", DEFAULT_LIMITS.exports, most=MAX_SLOTS)
    pool = _number("SEGSVC_POOL_SIZE", DEFAULT_LIMITS.pool, most=MAX_SLOTS)
    waiting = _number("SEGSVC_MAX_WAITING", DEFAULT_LIMITS.waiting, most=MAX_CLIENTS)
    connections = _number("SEGSVC_MAX_CONNECTIONS", DEFAULT_LIMITS.connections, most=MAX_CLIENTS)
    connections_per_address = _number("SEGSVC_MAX_CONNECTIONS_PER_ADDRESS", None, most=MAX_CLIENTS)
    requests_per_key = _number("SEGSVC_MAX_REQUESTS_PER_KEY", None, most=MAX_CLIENTS)
    new_users = _number("SEGSVC_MAX_NEW_USERS", DEFAULT_LIMITS.new_users, most=MAX_CLIENTS)
    statement_seconds = _number(
        "SEGSVC_STATEMENT_TIMEOUT", DEFAULT_LIMITS.statement_seconds, most=MAX_SECONDS
    )
    stall_seconds = _number("SEGSVC_STALL_TIMEOUT", DEFAULT_LIMITS.stall_seconds, most=MAX_SECONDS)

    log_level = fields.String(
        data_key="SEGSVC_LOG_LEVEL",
        load_default="INFO",
        validate=validate.OneOf(LOG_LEVELS, error="must be one of {choices}"),
    )
    public_url = _url("SEGSVC_PUBLIC_URL", None)

    def __init__(self, *, serving: bool) -> None:
        super().__init__()
        self.serving = serving

    @validates_schema(skip_on_field_errors=False)
    def _has_secret(self, data: dict[str, Any], **_: Any) -> None:
        if self.serving and data.get("database_url") and data.get("secret", "wrong") is None:
            detail = "must be set to a text that only you know: it signs the links to reports"
            raise ValidationError({"SEGSVC_SECRET": [detail]})

    @post_load
    def _freeze(self, data: dict[str, Any], **_: Any) -> Settings:
        data["data_dir"] = Path(os.path.expanduser(data["data_dir"])).absolute()  # noqa: PTH111 (never fails)
        data["allow_anonymous"] = data["allow_anonymous"] == "1"
        data["url"] = data["url"].rstrip("/")
        data["public_url"] = data["public_url"] and data["public_url"].rstrip("/")
        limits = {name: data.pop(name) for name in asdict(DEFAULT_LIMITS)}
        return Settings(**data, limits=Limits(**limits))
