"""The provider of OpenFeature for Python, against the service as a process."""

from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from tests.api_calls import change, create
from tests.conftest import Client
from tests.processes import serving

USER = EvaluationContext("1000", {"plan": "gold", "age": 30})


@pytest.fixture
async def keys(client: Client, conn: Connection) -> dict[str, str]:
    """Create the segments first: with the first key the API is no longer open."""
    for slug, percent in (("MANUAL", None), ("ALL", 100), ("NOBODY", 0)):
        await create(client, slug, percent)
    await change(client, 1000, add=["MANUAL"])
    made = {role: await store.create(conn, role, Role(role)) for role in ("reader", "editor")}
    return {role: key for role, key in made.items() if key}


@pytest.fixture
def url(dsn: str, keys: dict[str, str]) -> Iterator[str]:
    assert keys
    with serving(database_url=dsn) as (url, _):
        yield url
        api.shutdown()


def features_of(url: str, key: str) -> OpenFeatureClient:
    provider = OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"})
    api.set_provider(provider)
    return api.get_client()


def test_evaluation(url: str, keys: dict[str, str]) -> None:
    """A client with the key of a reader is told each value, and what it follows from."""
    features = features_of(url, keys["reader"])
    for key, user, value, reason in (
        ("MANUAL", USER, True, Reason.TARGETING_MATCH),
        ("MANUAL", EvaluationContext("1001"), False, Reason.STATIC),
        ("ALL", USER, True, Reason.SPLIT),
        ("NOBODY", USER, False, Reason.SPLIT),
    ):
        details = features.get_boolean_details(key, not value, user)
        assert (details.value, details.reason, details.error_code) == (value, reason, None)
        assert details.variant == ("on" if value else "off")
        assert details.flag_metadata == {}


@pytest.mark.slow
def test_errors(url: str, keys: dict[str, str]) -> None:
    """A client takes its own default, and knows why, when there is nothing to evaluate."""
    features = features_of(url, keys["reader"])
    for key, user, code in (
        ("NONE", USER, ErrorCode.FLAG_NOT_FOUND),
        ("A/B", USER, ErrorCode.FLAG_NOT_FOUND),
        ("MANUAL", None, ErrorCode.TARGETING_KEY_MISSING),
        ("MANUAL", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("MANUAL", EvaluationContext("alice"), ErrorCode.INVALID_CONTEXT),
        ("MANUAL", EvaluationContext("1000", {"nan": float("nan")}), ErrorCode.GENERAL),
    ):
        for default in (True, False):
            details = features.get_boolean_details(key, default, user)
            assert (details.value, details.reason) == (default, Reason.ERROR)
            assert details.error_code == code, (key, user)
            assert details.error_message
    assert features.get_string_details("MANUAL", "x", USER).error_code == ErrorCode.TYPE_MISMATCH


@pytest.mark.slow
def test_refused_key(url: str) -> None:
    """A client without a good key takes its own default, and is told that it is unauthorized."""
    details = features_of(url, "nobody.x").get_boolean_details(
        "MANUAL", default_value=False, evaluation_context=USER
    )
    assert (details.value, details.error_code) == (False, ErrorCode.GENERAL)
    assert details.error_message == "unauthorized"
