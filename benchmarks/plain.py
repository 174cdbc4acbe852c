"""The floor: a Celery app as one writes it without this project. `BENCH_BROKER` is its Redis."""

from __future__ import annotations

import os
import subprocess

from celery import Celery

BROKER = os.environ.get("BENCH_BROKER", "redis://127.0.0.1:1/0")

app = Celery("plain", broker=BROKER, backend=BROKER, set_as_current=False)
app.conf.update(
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    beat_schedule={"tick": {"task": "plain.tick", "schedule": 30.0}},
)


@app.task(name="plain.run", shared=False)
def run(command: list[str]) -> int:
    """Run a command and return its exit code."""
    return subprocess.run(command, capture_output=True, check=False).returncode


@app.task(name="plain.tick", ignore_result=True, shared=False)
def tick() -> None:
    """Do nothing."""
