"""Settings: defaults, values, and mistakes."""

from pathlib import Path

import pytest

from segsvc.cli.serve import url_of
from segsvc.settings import Limits, Settings, SettingsError, default_workers
from tests.processes import run


def test_defaults() -> None:
    """Without settings the service is local, with its own database; an empty setting is none."""
    settings = Settings.load({"HOME": "/home/dev", "SEGSVC_DATABASE_URL": ""})
    assert settings == Settings(
        database_url=None,
        data_dir=Path.cwd() / ".data",
        host="127.0.0.1",
        port=8080,
        url="http://127.0.0.1:8080",
        workers=default_workers(),
        secret=None,
        public_url=None,
        cors_origins=frozenset(),
        limits=Limits(),
        key=None,
        allow_anonymous=False,
        log_level="INFO",
    )


def test_values() -> None:
    """Each setting is read from its variable."""
    settings = Settings.load(
        {
            "SEGSVC_DATABASE_URL": "postgresql://u:p@db:5432/segsvc",
            "SEGSVC_DATA_DIR": "/var/lib/segsvc",
            "SEGSVC_HOST": "0.0.0.0",  # noqa: S104 (a value like any other here)
            "SEGSVC_PORT": "80",
            "SEGSVC_IMPORT_LIMIT": "1000000",
            "SEGSVC_STALL_TIMEOUT": "5",
            "SEGSVC_CORS_ORIGINS": "https://a.example.com, http://localhost:3000",
            "SEGSVC_URL": "http://segments:80/",
            "SEGSVC_WORKERS": "3",
            "SEGSVC_PUBLIC_URL": "https://segments.example.com/in/here/",
            "SEGSVC_SECRET": "a long enough secret",
        }
    )
    assert settings.database_url == "postgresql://u:p@db:5432/segsvc"
    assert (settings.data_dir, settings.port) == (Path("/var/lib/segsvc"), 80)
    assert settings.url == "http://segments:80"
    assert settings.limits == Limits(import_lines=1_000_000, stall_seconds=5)
    assert settings.cors_origins == {"https://a.example.com", "http://localhost:3000"}
    assert settings.workers == 3
    assert settings.public_url == "https://segments.example.com/in/here"


def test_served_database_needs_a_secret() -> None:
    """Who serves a database of their own is asked for a secret; other commands need none."""
    given = {"SEGSVC_DATABASE_URL": "postgresql://db/segsvc"}
    assert Settings.load(given).secret is None
    for secret in ("", "short"):
        with pytest.raises(SettingsError, match="SEGSVC_SECRET") as caught:
            Settings.load(given | {"SEGSVC_SECRET": secret}, serving=True)
        assert str(caught.value).count("SEGSVC_SECRET") == 1


def test_all_mistakes_at_once() -> None:
    """Every wrong setting is named, the misspelt ones too, and no password is repeated."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(
            {
                "SEGSVC_DATABASE_URL": "mysql://root:hunter2@db/segsvc",
                "SEGSVC_PORT": "65536",
                "SEGSVC_IMPORT_LIMIT": "0",
                "SEGSVC_MAX_PAGE": "1001",
                "SEGSVC_CORS_ORIGINS": "https://a.example.com/x",
                "SEGSVC_DATA_DIR": "/a b",
                "SEGSVC_DATABSE_URL": "x",
                "SEGSVC_PUBLIC_URL": "segments.example.com",
            }
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "SEGSVC_CORS_ORIGINS",
        "SEGSVC_DATABASE_URL",
        "SEGSVC_DATABSE_URL",
        "SEGSVC_DATA_DIR",
        "SEGSVC_IMPORT_LIMIT",
        "SEGSVC_MAX_PAGE",
        "SEGSVC_PORT",
        "SEGSVC_PUBLIC_URL",
    ]
    assert "hunter2" not in str(caught.value)


WRONG = {
    "SEGSVC_KEY": ["shop.abc\r", "shop.a b", "shop", "магазин.abc", "shop.abc\udcff"],
    "SEGSVC_HOST": ["a..b", "a" * 64, "0.0.0.0:80", "[::1]", "\u2028", "a b", "."],
    "SEGSVC_SECRET": [
        *("a" * 16, "0" * 64, "ab" * 20, "0123456789abcdef\n", "0123456789abcdef\udcff")
    ],
    "SEGSVC_URL": ["http://h:99999", "http://h:x", "http://", "ftp://h", "http://h\n"],
    "SEGSVC_PUBLIC_URL": ["https://h:70000/x", "https://u:p@h", "https://h/?a=b", "https://h/#a"],
    "SEGSVC_CORS_ORIGINS": [
        *("https://A.example.com", "https://a.example.com:443", "http://a:80", "https://пример.рф"),
        *("http://[0:0::1]", "https://a%20b", "https://*.example.com", "http://a:99999"),
        "http://[",
        "https://a.example.com/",
        "https://u@a",
        "*",
        "https://a,",
    ],
    "SEGSVC_DATA_DIR": ["/a b", "/a\tb", "/a'b"],
    "SEGSVC_POOL_SIZE": ["0", "1001", "9" * 40, "1e3", "-1", "x"],
    "SEGSVC_STATEMENT_TIMEOUT": ["3601", "0.5"],
    "SEGSVC_STALL_TIMEOUT": ["99999999999"],
    "SEGSVC_MAX_BODY": ["1023", "9" * 20],
    "SEGSVC_IMPORT_LIMIT": ["9" * 20],
    "SEGSVC_MAX_CONNECTIONS": ["1000000"],
    "SEGSVC_WORKERS": ["65", """ "4" """],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_wrong_values(name: str, value: str) -> None:
    """A value that could not work is refused at the start, by its name."""
    with pytest.raises(SettingsError, match=name):
        Settings.load({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEGSVC_HOST", "::1"), ("SEGSVC_HOST", "fe80::1%eth0"), ("SEGSVC_HOST", "segsvc.local."),
        ("SEGSVC_CORS_ORIGINS", "http://[::1]:8080"), ("SEGSVC_KEY", "shop.A-_9"),
        ("SEGSVC_DATA_DIR", "~nobody-at-all/data"), ("SEGSVC_SECRET", "пароль из букв и слов"),
    ],
)  # fmt: skip
def test_unusual_values(name: str, value: str) -> None:
    """What is unusual but right is taken."""
    Settings.load({name: value})


def test_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that cannot be written to is an error with a reason."""
    (tmp_path / "file").touch()
    ended = run("serve", data_dir=str(tmp_path / "file" / "data"))
    assert ended.returncode == 1
    assert f"cannot write to {tmp_path}/file/data: Not a directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_banner_of_an_ipv6_address() -> None:
    """The URL of an IPv6 address has brackets."""
    assert url_of("::1", 8080) == "http://[::1]:8080"
    assert url_of("127.0.0.1", 80) == "http://127.0.0.1:80"


@pytest.mark.parametrize("url", ["postgresql://db:port/x", "db", "http://db/", "postgresql://[/"])
def test_database_urls_that_are_none(url: str) -> None:
    """A URL that cannot be one is refused before anything connects to it."""
    with pytest.raises(SettingsError, match="SEGSVC_DATABASE_URL"):
        Settings.load({"SEGSVC_DATABASE_URL": url})
