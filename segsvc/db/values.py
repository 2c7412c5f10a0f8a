"""Values as the database holds them."""

import re
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

MAX_USER_ID = 2**63 - 1
SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

# The end of a membership: a time, a time to live from the write on, or no end.
Expiry = datetime | timedelta | None

# What takes the output of COPY, piece by piece.
Sink = Callable[[bytes], Coroutine[Any, Any, None]]
