"""The URL of the database, parsed once for both drivers: asyncpg serves, psycopg migrates.

libpq parses the URL and the `PG*` variables of the environment. Each driver is then given the same
parts explicitly. A part that asyncpg would ignore is refused, above all those of TLS.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from segsvc.db.session import SESSION

FORM = "postgresql://user:password@host:5432/database"

DEFAULT_PORT = "5432"

# Seconds.
CONNECT_TIMEOUT = 5
MAX_TIMEOUT = 3600

# What both drivers take as text, and what each may be, if it is not any text.
CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "sslnegotiation": {"postgres", "direct"},
    "ssl_min_protocol_version": {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"},
    "ssl_max_protocol_version": {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"},
    "target_session_attrs": {
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby",
    },
}  # fmt: skip
ENFORCED = {"require", "verify-ca", "verify-full"}
FILES = {"sslcert", "sslkey", "sslrootcert", "sslcrl"}
TLS = {"sslpassword", "sslcert", "sslkey", "sslrootcert", "sslcrl", *CHOICES} - {
    "target_session_attrs"
}

# What asyncpg ignores, with the values that mean what asyncpg does.
IGNORED = {
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"auto", "utf8", "utf-8", "unicode"},
    "gssencmode": {"disable", "prefer"},
    "gssdelegation": {"0"},
    "load_balance_hosts": {"disable"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
    "sslcertmode": {"allow"},
}

# The resolver fails for others with an error of text encoding.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")

# Names of settings in options: those of SESSION must not be among them.
_OPTION = re.compile(r"(?:-c\s*|--)([\w.-]+)=")


class WrongUrl(ValueError):  # noqa: N818 (it says what is wrong)
    """The URL cannot be used; the message says why, and contains no password."""


@dataclass(frozen=True)
class DatabaseUrl:
    """The parts of a URL.

    Attributes:
        hosts: names, addresses, or folders of sockets; the first one that answers is used.
        ports: one for each host.
        connect_timeout: in seconds.
        options: settings for the session, as the command line options of a server.
        tls: how the connection is encrypted, by libpq's names.
        others: other parts that both drivers take, by libpq's names.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str
    password: str | None
    database: str
    connect_timeout: int
    application_name: str
    options: str
    tls: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL, completed by the `PG*` variables of the environment.

        Raises:
            WrongUrl: it is not one, or asks for what the service cannot do.
        """
        given = _given(text)
        _check(given)
        hosts = _hosts(given.get("host", ""))
        return cls(
            hosts=hosts,
            ports=_ports(given.get("port", DEFAULT_PORT), len(hosts)),
            user=given["user"],
            password=given.get("password"),
            database=given.get("dbname", given["user"]),
            connect_timeout=_seconds(given.get("connect_timeout", str(CONNECT_TIMEOUT))),
            application_name=given.get("application_name", "segsvc"),
            options=given.get("options", ""),
            tls={name: value for name, value in given.items() if name in TLS},
            others={
                name: value
                for name, value in given.items()
                if name in {"passfile", "target_session_attrs"}
            },
        )

    def for_asyncpg(self) -> dict[str, Any]:
        """Return arguments of `asyncpg.connect`."""
        # asyncpg takes the names of TLS files in a URL only. All parts are given, because it
        # completes what is missing by rules of its own.
        tls = {"sslmode": "prefer", "sslnegotiation": "postgres"} | self.tls
        given: dict[str, Any] = {
            "dsn": f"postgresql://?{urlencode(tls, quote_via=quote)}",
            "host": list(self.hosts),
            "port": list(self.ports),
            "user": self.user,
            "database": self.database,
            "timeout": self.connect_timeout,
            "target_session_attrs": "any",
            **self.others,
        }
        return given if self.password is None else given | {"password": self.password}

    def for_libpq(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the parts by libpq's names, with settings to begin with, for `psycopg.connect`."""
        options = (f"-c {name}={value}" for name, value in settings.items())
        given = {
            "host": ",".join(self.hosts),
            "port": ",".join(map(str, self.ports)),
            "user": self.user,
            "dbname": self.database,
            "connect_timeout": str(self.connect_timeout),
            "application_name": self.application_name,
            "options": " ".join([self.options, *options]).strip(),
            **self.tls,
            **self.others,
        }
        return given if self.password is None else given | {"password": self.password}


def is_host(text: str) -> bool:
    """Return whether `text` is an address or a host name, without a port."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


_KNOWN = {
    *("host", "port", "user", "password", "dbname", "connect_timeout", "application_name"),
    *("options", "passfile", "target_session_attrs", *TLS),
}


def _given(text: str) -> dict[str, str]:
    """Return the parts of a URL and of the environment by libpq's names.

    Raises:
        WrongUrl: libpq does not know it.
    """
    import psycopg  # noqa: PLC0415 (half of the time of a command that needs no database)
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    if not text.startswith(("postgresql://", "postgres://")) or not text.isprintable():
        raise WrongUrl(f"must look like {FORM}")
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except psycopg.Error:
        # libpq's message may contain a part of the password.
        raise WrongUrl(_mistake(text)) from None
    for option in psycopg.pq.Conninfo.get_defaults():
        name = option.keyword.decode()
        if option.val and (name == "user" or (option.envvar or b"").decode() in os.environ):
            given.setdefault(name, option.val.decode())
    if "user" not in given:
        raise WrongUrl(f"names no user: it must look like {FORM}")
    return given


def _mistake(text: str) -> str:
    """Return what is wrong with a URL that libpq cannot parse."""
    query = urlsplit(text).query if "[" not in text else ""
    unknown = [name for name, _ in parse_qsl(query) if not re.fullmatch(r"[a-z_]{1,40}", name)]
    if "@" in query or unknown:
        return f"must look like {FORM}, with special characters written as %40 and the like"
    names = ", ".join(name for name, _ in parse_qsl(query) if name not in _KNOWN | IGNORED.keys())
    return f"{names} is no parameter of a connection" if names else f"must look like {FORM}"


def _check(given: Mapping[str, str]) -> None:
    """Check that both drivers honour all parts.

    Raises:
        WrongUrl: one of them does not; the message names the part.
    """
    for name, value in given.items():
        if name in IGNORED:
            if value not in IGNORED[name]:
                raise WrongUrl(f"{name}={value} is not supported by the service: remove it")
        elif name not in _KNOWN:
            raise WrongUrl(f"{name} is not supported by the service: remove it")
        elif value not in CHOICES.get(name, {value}):
            raise WrongUrl(f"{name} must be one of {', '.join(sorted(CHOICES[name]))}")
        elif name in FILES and not os.access(value, os.R_OK):
            raise WrongUrl(f"{name} names a file that cannot be read: {value}")
    if given.get("sslnegotiation") == "direct" and given.get("sslmode") not in ENFORCED:
        raise WrongUrl("sslnegotiation=direct needs sslmode=require or a stricter one")
    if pinned := sorted(set(_OPTION.findall(given.get("options", ""))) & SESSION.keys()):
        raise WrongUrl(f"options must not set {', '.join(pinned)}: the service does")


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(text.split(","))
    if not all(hosts):
        raise WrongUrl(
            f"names no host: it must look like {FORM}, or end with ?host=/var/run/postgresql for a"
            " socket"
        )
    if not all(host.startswith("/") or is_host(host) for host in hosts):
        raise WrongUrl("names a host that is neither an address nor a host name")
    return hosts


def _ports(text: str, hosts: int) -> tuple[int, ...]:
    given = [port or DEFAULT_PORT for port in text.split(",")]
    ports = [int(port) if port.isascii() and port.isdigit() else 0 for port in given]
    if len(ports) == 1:
        ports *= hosts
    if len(ports) != hosts or not all(0 < port < 2**16 for port in ports):
        raise WrongUrl("each port must be from 1 to 65535, one for all hosts or one for each")
    return tuple(ports)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_TIMEOUT):
        raise WrongUrl(f"connect_timeout must be a number of seconds, from 1 to {MAX_TIMEOUT}")
    return int(text)
