"""The programs in examples/, as a reader would start them, on one living node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from waiting import eventually
from whole_node import ROOT, WholeNode

pytestmark = pytest.mark.fleet

EXAMPLES = ROOT / "examples"
WITHIN_S = 240


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """What a reader's shell has: the tools of the project on PATH, and a fleet that knows the project hello."""
    node = WholeNode(tmp_path_factory.mktemp("examples"), projects={"hello": EXAMPLES / "hello"})
    try:
        node.up()
        yield {**node.env, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    finally:
        print(node.logs())  # noqa: T201  shown when a test fails
        node.close()


@pytest.fixture
def printed(env, tmp_path):
    """Run an example to its end; give the lines it printed."""

    def run(name):
        words = ["sh"] if name.endswith(".sh") else [sys.executable]
        done = subprocess.run(
            [*words, EXAMPLES / name],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


def test_every_example_is_told_of_and_run_here():
    shown = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}
    told = (EXAMPLES / "README.md").read_text()
    here = Path(__file__).read_text()
    for name in shown:
        assert f"({name}" in told, name
        assert f'"{name}' in here, name


def test_hello_brings_its_code_along(env):
    words = next(
        line.split() for line in (EXAMPLES / "hello" / "README.md").read_text().splitlines() if "infra run" in line
    )
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == ("Hello, Ada!", "Bye, Ada."), done.stderr


def test_a_sweep_tells_of_each_run_as_it_ends_and_of_the_best(printed):
    *ended, best = printed("sweep.py")
    assert sorted(ended) == [f"rate 0.{n} ended on n1: SUCCESS" for n in range(1, 6)]
    assert best == "best rate 0.3 with a score of 1.0"


def test_a_chain_goes_in_order_and_stops_at_a_failure(printed):
    assert printed("chain.py") == [
        "last step: reported",
        "before it: trained",
        "broken step: exit code 3",
        "what came behind it is PENDING",
    ]


def test_a_chord_ends_behind_all_its_parts(printed):
    assert printed("chord.py") == ["all parts are done", "parts: part 0, part 1, part 2"]


def test_a_flaky_run_is_tried_again_and_an_endless_one_is_stopped(printed):
    assert printed("retry_and_timeout.py") == [
        "attempt 1",
        "attempt 2",
        "attempt 3",
        "SUCCESS at attempt 3",
        "FAILURE by timeout, 0 survivors",
    ]


def test_outputs_come_home_from_a_run_that_failed(printed):
    assert printed("outputs.py") == [
        "FAILURE, and 2 files all the same; nothing matched *.png",
        "loss.csv (17 bytes)",
        "model/weights.txt (8 bytes)",
        "epoch,loss",
        "1,0.5",
    ]


def test_a_shell_script_runs_and_reads_what_json_says(printed):
    assert printed("from_shell.sh") == [
        "hello from a script",
        "exit code 3",
        "run said: one",
        "state: SUCCESS",
        "run said: two",
        "state: SUCCESS",
    ]


@contextmanager
def served(env):
    """The web service on a port of its own; give its address."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "web_handler.py", "0"], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def asked(address, data=None):
    """Return status and answer."""
    try:
        with urllib.request.urlopen(address, data and json.dumps(data).encode(), timeout=WITHIN_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_web_service_answers_with_the_id_and_later_with_the_end(env):
    with served(env) as address:
        status, said = asked(f"{address}/greetings", {"name": "Ada; rm -rf /"})
        assert status == 202
        ended = eventually(
            lambda: (found := asked(f"{address}/runs/{said['id']}")[1])["state"] == "SUCCESS" and found, 30, "it ends"
        )
        assert ended["said"] == "Hello, Ada; rm -rf /!\n"
        assert asked(f"{address}/runs/zz")[0] == 404
        assert asked(f"{address}/greetings", {"nam": "Ada"})[0] == 400


# By sockets of files: ports that are free now may be somebody else's when the kernel has started.
NOTEBOOK = """
import sys, nbclient, nbformat
from jupyter_client import AsyncKernelManager
book = nbformat.read(sys.argv[1], as_version=4)
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=sys.argv[2])
within_s = float(sys.argv[4])
nbclient.NotebookClient(book, km=kernel, timeout=within_s, startup_timeout=within_s).execute()
nbformat.write(book, sys.argv[3])
"""


def test_a_notebook_awaits_runs_in_its_cells(env, tmp_path):
    own = {
        name: str(tmp_path) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    }
    with tempfile.TemporaryDirectory() as short:
        words = [EXAMPLES / "notebook.ipynb", f"{short}/k.json", tmp_path / "done.ipynb", str(WITHIN_S)]
        done = subprocess.run(
            [sys.executable, "-c", NOTEBOOK, *words], env={**env, **own}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    book = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    said = ["".join(_texts(cell)) for cell in book.cells if cell.cell_type == "code"]
    assert said == ["step 1\nstep 2\nstep 3\nSUCCESS 0\n", "[0, 1, 4, 9]", "['step 2', 'step 3']"]


def _texts(cell):
    for one in cell.outputs:
        yield one["text"] if one["output_type"] == "stream" else one["data"]["text/plain"]
