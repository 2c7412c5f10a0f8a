"""The URL of the database: one meaning for both drivers, and no traceback for any text."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from segsvc.db import migrations
from segsvc.db.pool import Connection, session
from segsvc.db.url import DatabaseUrl, WrongUrl
from segsvc.settings import Settings, SettingsError
from tests.conftest import Databases
from tests.processes import run


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables that complete a URL."""
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(server: str) -> str:
    """The folder of the server's socket."""
    return parse_qs(urlsplit(server).query)["host"][0]


REFUSED = {
    "postgresql://h/d?channel_binding=require": "channel_binding=require is not supported",
    "postgresql://h/d?gssencmode=require": "gssencmode=require is not supported",
    "postgresql://h/d?require_auth=scram-sha-256": "require_auth is not supported",
    "postgresql://h/d?sslcertmode=require": "sslcertmode=require is not supported",
    "postgresql://h/d?sslcrldir=/crls": "sslcrldir is not supported",
    "postgresql://h/d?sslsni=0": "sslsni=0 is not supported",
    "postgresql://h/d?service=main": "service is not supported",
    "postgresql://h/d?hostaddr=10.0.0.1": "hostaddr is not supported",
    "postgresql://h/d?keepalives_idle=30": "keepalives_idle is not supported",
    "postgresql://h/d?client_encoding=latin1": "client_encoding=latin1 is not supported",
    "postgresql://h/d?load_balance_hosts=random": "load_balance_hosts=random is not supported",
    "postgresql://h/d?sslmode=verify": "sslmode must be one of",
    "postgresql://h/d?sslrootcert=/no/such/file": "sslrootcert names a file that cannot be read",
    "postgresql://h/d?sslrootcert=system": "sslrootcert names a file that cannot be read",
    "postgresql://h/d?ssl_min_protocol_version=1.2": "ssl_min_protocol_version must be one of",
    "postgresql://h/d?sslnegotiation=direct": "sslnegotiation=direct needs sslmode=require",
    "postgresql://h/d?target_session_attrs=master": "target_session_attrs must be one of",
    "postgresql://h/d?connect_timeout=soon": "connect_timeout must be a number of seconds",
    "postgresql://h/d?connect_timeout=0": "connect_timeout must be a number of seconds",
    "postgresql://h/d?options=-c%20search_path%3Da": "options must not set search_path",
    "postgresql://h/d?options=--jit%3Don%20-c%20timezone%3DC": "options must not set jit, timezone",
    "postgresql://h/d?sslmod=require&x=1": "sslmod, x is no parameter of a connection",
    "postgresql://h:0/d": "each port must be from 1 to 65535",
    "postgresql://h:99999/d": "each port must be from 1 to 65535",
    "postgresql://a,b,c/d?port=1,2": "each port must be from 1 to 65535",
    "postgresql://h:port/d": "each port must be from 1 to 65535",
    "postgresql:///d": "names no host",
    "postgresql://a,,b/d": "names no host",
    f"postgresql://{'a' * 64}/d": "neither an address nor a host name",
    "postgresql://a..b/d": "neither an address nor a host name",
    "postgresql://%D0%B1%D0%B4/d": "neither an address nor a host name",
    "postgresql://": "names no host",
    "postgresql://u:p@h/%zz": "must look like",
    "postgresql://u:p@h/d%00": "must look like",
    "postgresql://u:p@[::1/d": "must look like",
    "mysql://u:p@h/d": "must look like",
    "postgresql://u:p@h/d\r": "must look like",
    "host=h dbname=d": "must look like",
}


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: str) -> None:
    """What one of the drivers would ignore or cannot read is refused by its name."""
    with pytest.raises(WrongUrl) as caught:
        DatabaseUrl.parse(url)
    assert REFUSED[url] in str(caught.value)
    with pytest.raises(SettingsError, match="SEGSVC_DATABASE_URL"):
        Settings.load({"SEGSVC_DATABASE_URL": url})


@pytest.mark.parametrize("command", ["migrate", "serve", "check"])
def test_commands_refuse(command: str) -> None:
    """Every command says so, in the same way."""
    ended = run(command, database_url="postgresql://u:hunter2@h/d?channel_binding=require")
    assert ended.returncode == 1
    assert "SEGSVC_DATABASE_URL: channel_binding=require is not supported" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p%ss@h/d?foo=1", "postgresql://u:p%ss@h:x/d", "postgresql://u:p%ss@[h/d"],
)
def test_no_password_is_repeated(url: str) -> None:
    """A message contains no part of a password that was not escaped."""
    with pytest.raises(WrongUrl) as caught:
        DatabaseUrl.parse(url)
    assert "p%ss" not in str(caught.value)


def test_same_parts_for_both_drivers(tmp_path: Path) -> None:
    """Both drivers are given the same hosts, ports, names, passwords and TLS options."""
    certificate = str(tmp_path / "root.crt")
    Path(certificate).touch()
    url = DatabaseUrl.parse(
        f"postgresql://an%20n:p%40s%2B%3A@a:1,[::1]:2,c/My-DB.1%20x?sslmode=verify-full"
        f"&sslrootcert={certificate}&connect_timeout=10&target_session_attrs=read-write"
        "&application_name=shop&gssencmode=disable&channel_binding=prefer"
    )
    theirs = url.for_libpq({"statement_timeout": "0"})
    assert theirs == {
        "host": "a,::1,c",
        "port": "1,2,5432",
        "user": "an n",
        "password": "p@s+:",
        "dbname": "My-DB.1 x",
        "connect_timeout": "10",
        "application_name": "shop",
        "options": "-c statement_timeout=0",
        "sslmode": "verify-full",
        "sslrootcert": certificate,
        "target_session_attrs": "read-write",
    }
    assert make_conninfo(**theirs)
    ours = url.for_asyncpg()
    tls = parse_qs(urlsplit(ours.pop("dsn")).query)
    assert tls == {
        "sslmode": ["verify-full"],
        "sslrootcert": [certificate],
        "sslnegotiation": ["postgres"],
    }
    assert ours == {
        "host": ["a", "::1", "c"],
        "port": [1, 2, 5432],
        "user": "an n",
        "password": "p@s+:",
        "database": "My-DB.1 x",
        "timeout": 10,
        "target_session_attrs": "read-write",
    }


def test_environment_completes_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of libpq hold for both drivers, and are refused like parts of the URL."""
    for name, value in (
        ("PGHOST", "db"), ("PGPORT", "6432"), ("PGUSER", "ann"), ("PGPASSWORD", "x"),
        ("PGSSLMODE", "require"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    parsed = DatabaseUrl.parse("postgresql:///d")
    assert (parsed.hosts, parsed.ports, parsed.user, parsed.password, parsed.tls) == (
        ("db",), (6432,), "ann", "x", {"sslmode": "require"},
    )  # fmt: skip
    monkeypatch.setenv("PGCHANNELBINDING", "require")
    with pytest.raises(WrongUrl, match="channel_binding=require"):
        DatabaseUrl.parse("postgresql:///d")


@given(st.text(max_size=40).map("postgresql://{}".format) | st.text(max_size=40))
def test_any_text(text: str) -> None:
    """A text is a URL or is refused; nothing else happens."""
    try:
        url = DatabaseUrl.parse(text)
    except WrongUrl:
        return
    assert len(url.hosts) == len(url.ports)


@pytest.fixture
async def odd(new_database: Databases, admin: Connection) -> str:
    """A database whose name has to be escaped in a URL."""
    plain = await new_database()
    name = urlsplit(plain).path[1:]
    await admin.execute(f'ALTER DATABASE {name} RENAME TO "My-DB.1 {name}"')
    return f"My-DB.1%20{name}"


async def test_connections(odd: str, folder: str, admin: Connection) -> None:
    """URLs of every form work in the migrator, in the service and in its commands."""
    forms = [
        f"postgresql://postgres@/{odd}?host={folder}&connect_timeout=10&gssencmode=disable",
        f"postgresql://postgres@{folder.replace('/', '%2F')}/{odd}?channel_binding=prefer",
        f"postgres://postgres@/{odd}?host=/no/such/folder,{folder}&sslmode=prefer",
        f"postgresql:///?user=postgres&dbname={odd}&host={folder}&application_name=shop",
        f"postgresql://postgres@/{odd}?host={folder}&options=-c%20geqo%3Doff",
    ]
    try:
        for url in forms:
            applied = migrations.known() if url is forms[0] else []
            assert migrations.migrate(url) == applied
            async with session(url) as conn:
                assert await conn.fetchval("SELECT count(*) FROM users") == 0
        async with session(forms[3]) as conn:
            assert await conn.fetchval("SHOW application_name") == "shop"
        async with session(forms[4]) as conn:
            assert await conn.fetchval("SHOW geqo") == "off"
        ended = run("check", database_url=forms[0])
        assert (ended.returncode, ended.stderr) == (0, "")
    finally:
        await admin.execute(f'DROP DATABASE "{odd.replace("%20", " ")}" WITH (FORCE)')


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_tls_that_cannot_be_had(command: str, tmp_path: Path) -> None:
    """A wrong certificate file is an error with a reason, in both drivers."""
    (tmp_path / "none.crt").write_text("none")
    url = f"postgresql://u@127.0.0.1:1/d?sslmode=verify-full&sslrootcert={tmp_path}/none.crt"
    ended = run(command, database_url=url)
    assert ended.returncode == 1
    assert "cannot use the database" in ended.stderr
    assert "Traceback" not in ended.stderr
