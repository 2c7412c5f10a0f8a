"""A product backend asks with OpenFeature whether a user is in a segment.

python backend.py 1000 VOICE_MESSAGES
"""

import os
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext


def connect(url: str, key: str | None) -> None:
    """Use the service at `url` for all evaluations of this process."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    api.set_provider(OFREPProvider(url, headers_factory=lambda: headers))


def may_send_voice_messages(user_id: int, segment: str) -> bool:
    """Return whether the user is in the segment; False if the service does not answer."""
    user = EvaluationContext(targeting_key=str(user_id))
    return api.get_client().get_boolean_value(segment, default_value=False, evaluation_context=user)


if __name__ == "__main__":
    user_id, segment = sys.argv[1:]
    connect(os.environ.get("SEGSVC_URL", "http://127.0.0.1:8080"), os.environ.get("SEGSVC_KEY"))
    try:
        inside = may_send_voice_messages(int(user_id), segment)
        print(f"user {user_id} {'is' if inside else 'is not'} in {segment}")
    finally:
        api.shutdown()
