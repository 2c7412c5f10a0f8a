"""Settings: defaults, values, and mistakes."""

from pathlib import Path

import pytest

from segsvc.settings import Limits, Settings, SettingsError, default_workers


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


@pytest.mark.parametrize("url", ["postgresql://db:port/x", "db", "http://db/", "postgresql://[/"])
def test_database_urls_that_are_none(url: str) -> None:
    """A URL that cannot be one is refused before anything connects to it."""
    with pytest.raises(SettingsError, match="SEGSVC_DATABASE_URL"):
        Settings.load({"SEGSVC_DATABASE_URL": url})
