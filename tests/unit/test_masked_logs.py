"""Lines of our own logs, as handlers get them."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from infra_tasks.masked_logs import mask_logs

PASSWORD = "pw-of-redis-77"


@pytest.fixture
def lines(caplog):
    """The lines that are logged; the process makes its records as before when the test is over."""
    before, hook = logging.getLogRecordFactory(), sys.excepthook
    mask_logs([PASSWORD])
    mask_logs([PASSWORD])  # again, as a role that is entered twice
    yield lambda: [logging.Formatter().format(record) for record in caplog.records]
    logging.setLogRecordFactory(before)
    sys.excepthook = hook


def test_a_password_is_masked_wherever_it_stands(lines):
    log = logging.getLogger("any.name")
    log.warning("cannot reach %s (%s)", f"redis://:{PASSWORD}@h:1/0", PASSWORD)
    log.warning("cannot reach rediss://me:other@h:1/0")
    log.warning("run %s on %d nodes", "abc@1", 2)
    assert lines() == [
        "cannot reach redis://***@h:1/0 (***)",
        "cannot reach rediss://***@h:1/0",
        "run abc@1 on 2 nodes",
    ]


def test_a_password_in_a_traceback_is_masked(lines):
    try:
        int(PASSWORD)
    except ValueError:
        logging.getLogger("any.name").exception("it broke")
    (line,) = lines()
    assert "invalid literal for int() with base 10: '***'" in line
    assert PASSWORD not in line


def test_the_traceback_a_process_ends_with_is_masked():
    program = (
        "from infra_tasks.masked_logs import mask_logs\n"
        f"mask_logs([{PASSWORD!r}])\nraise ValueError('at redis://me:x@h with ' + {PASSWORD!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError: at redis://***@h with ***" in done.stderr
