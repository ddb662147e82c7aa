"""The pace at which AWS's delays pass.

The local AWS tells its speed in `LOCAL_AWS_SPEED`: 20 makes every delay a twentieth as long. Time
stamps stay those of the real clock.
"""

import os
import time
from datetime import datetime, timedelta, timezone

#: The real time, and that of a clock that is never set, at one moment.
_STARTED = (datetime.now(timezone.utc), time.monotonic())


def speed() -> float:
    """How many times faster than AWS's the delays pass; 1 if nothing was said."""
    return float(os.environ.get("LOCAL_AWS_SPEED", "1"))


def scaled(seconds: float) -> float:
    """How long a delay of AWS's lasts here."""
    return seconds / speed()


def local_time() -> datetime:
    """The time of day, for schedules that name one: the real one when this process started, and
    from then on at the pace of all delays."""
    started, monotonic = _STARTED
    return started + timedelta(seconds=(time.monotonic() - monotonic) * speed())
