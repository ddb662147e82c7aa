"""The pace at which AWS's delays pass.

The local AWS tells its speed in `LOCAL_AWS_SPEED`: 20 makes every delay a twentieth as long. Time
stamps stay those of the real clock.
"""

import os


def speed() -> float:
    """How many times faster than AWS's the delays pass; 1 if nothing was said."""
    return float(os.environ.get("LOCAL_AWS_SPEED", "1"))


def scaled(seconds: float) -> float:
    """How long a delay of AWS's lasts here."""
    return seconds / speed()
