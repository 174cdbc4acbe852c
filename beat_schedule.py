"""When things happen by themselves: what beat sends, where to, how often.

Every task named here is idempotent per entry and slot: two beats, a jumped clock or a doubled message do no harm.
"""

from __future__ import annotations

from typing import Any

PULSE = "infra_tasks.pulse"
GUARDIAN_QUEUE = "guardian"
PULSE_EVERY_S = 30.0
CHECK_CODE = "infra_tasks.check_code"
CHECK_CODE_EVERY_S = 30 * 60.0

SCHEDULE: dict[str, dict[str, Any]] = {
    "pulse": {
        "task": PULSE,
        "schedule": PULSE_EVERY_S,
        # A tick nobody took in time is worth nothing when the next one is there.
        "options": {"queue": GUARDIAN_QUEUE, "expires": PULSE_EVERY_S, "ignore_result": True},
    },
    "check-code": {
        "task": CHECK_CODE,
        "schedule": CHECK_CODE_EVERY_S,
        "options": {"queue": GUARDIAN_QUEUE, "expires": CHECK_CODE_EVERY_S, "ignore_result": True},
    },
}
