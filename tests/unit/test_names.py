"""What `import infra_tasks` offers."""

from __future__ import annotations

import inspect
import subprocess
import sys
from inspect import iscoroutinefunction, signature

import pytest

import infra_tasks
from infra_tasks import acalls, calls

PAIRS = [
    ("run", "arun"),
    ("get", "aget"),
    ("wait", "await_runs"),
    ("cancel", "acancel"),
    ("extend", "aextend"),
    ("retry", "aretry"),
    ("stream_logs", "astream_logs"),
]


def test_every_name_is_there_listed_for_completion_and_has_a_docstring():
    assert set(infra_tasks._ROOMS) == set(infra_tasks.__all__) <= set(dir(infra_tasks))
    for name in infra_tasks.__all__:
        assert inspect.getdoc(getattr(infra_tasks, name)), name


def test_importing_the_package_loads_nothing_of_it():
    said = "import sys, infra_tasks; print([name for name in sys.modules if name.startswith('infra_tasks.')])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'infra_tasks' has no attribute 'runn'"):
        _ = infra_tasks.runn


@pytest.mark.parametrize(("plain", "awaited"), PAIRS)
def test_what_is_awaited_takes_the_same_arguments(plain, awaited):
    ours, theirs = getattr(acalls, awaited), getattr(calls, plain)
    assert signature(ours).parameters == signature(theirs).parameters
    assert iscoroutinefunction(ours) or inspect.isasyncgenfunction(ours)
