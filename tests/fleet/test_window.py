"""The window of a whole node, through a real browser: who comes in, what is seen there, and what is ended there."""

from __future__ import annotations

import base64
import json
import stat
import time
import urllib.error
import urllib.request
from contextlib import suppress

import pytest
from browser import browsing, somebody
from caller import Caller, CallerRaised
from playwright.sync_api import Error
from waiting import eventually
from whole_node import WholeNode

pytestmark = pytest.mark.fleet

USER = "infra"
WITHIN_S = 240


class Glass:
    """The window of a node, as programs see it."""

    def __init__(self, node):
        self.node = node

    @property
    def password(self):
        return (self.node.home / "secrets" / "flower.password").read_text().strip()

    @property
    def url(self):
        return f"http://127.0.0.1:{json.loads((self.node.home / 'ports.json').read_text())['flower']}"

    def asks(self, path, *, login=None, method="GET", **headers):
        """Return status, headers and text of an answer."""
        login = f"{USER}:{self.password}" if login is None else login
        request = urllib.request.Request(self.url + path, method=method, data=b"" if method == "POST" else None)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        for name, text in headers.items():
            request.add_header(name.replace("_", "-"), text)
        opener = urllib.request.build_opener(NotFollowing)
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def tells(self, path):
        """Return what the API tells; {} when it does not answer or knows nothing."""
        with suppress(OSError, ValueError):
            return json.loads(self.asks(path)[2])
        return {}

    def state(self, run_id):
        return self.tells(f"/api/task/info/{run_id}").get("state")


class NotFollowing(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@pytest.fixture(scope="module")
def window_node(tmp_path_factory):
    node = WholeNode(tmp_path_factory.mktemp("window"), flower={"read_only": False})
    try:
        yield node.up()
    finally:
        print(node.logs())  # noqa: T201  shown when a test fails
        node.close()


@pytest.fixture(scope="module")
def glass(window_node):
    one = Glass(window_node)
    eventually(lambda: one.tells("/api/workers?status=1").get("worker@n1"), WITHIN_S, "Flower sees the worker")
    return one


@pytest.fixture(scope="module")
def browser():
    with browsing() as one:
        yield one


@pytest.fixture(scope="module")
def book(window_node):
    opened = window_node.ledger()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def call(window_node):
    one = Caller(window_node.env)
    yield one
    one.close()


def accept(spec):
    from infra_tasks import run_spec

    return run_spec.delay(spec).id


def accept_for_later(spec):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), countdown=3600).id


def send_foreign(spec):
    from infra_tasks.app import app

    return app.send_task("infra_tasks.run_spec", [spec], queue=app.conf.task_default_queue).id


def conf_of_workers():
    from infra_tasks.app import app

    inspect = app.control.inspect(timeout=30, limit=2)  # of worker and control
    return {"conf": inspect.conf(), "stats": inspect.stats(), "report": inspect.report(), "active": inspect.active()}


def state(book, run_id):
    return book.runs.peek(run_id)[0]


def changed_at(path):
    """Return when a file was written last; 0 if it goes by another name meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


def shows(page, text, within_s=WITHIN_S):
    """Wait until a page that does not renew itself says so."""

    def look():
        page.reload()
        return text in page.inner_text("body")

    eventually(look, within_s, f"{page.url} shows {text!r}")


def is_let_in(page, url):
    """Say whether this person sees a page; with a password that is wrong, or none, the browser asks in vain."""
    try:
        return page.goto(url).status == 200
    except Error as error:
        if "ERR_INVALID_AUTH_CREDENTIALS" not in str(error):
            raise
        return False


def test_infra_open_brings_the_browser_in_without_a_password_anywhere(window_node, glass, browser, tmp_path):
    noted, script = tmp_path / "noted", tmp_path / "my-browser"
    script.write_text(f'#!/bin/sh\necho "$@" > {noted}\necho Opening in existing browser session.\n')
    script.chmod(0o755)
    done = window_node.python("-m", "infra_tasks.cli", "open", env={"BROWSER": str(script)})
    assert (done.returncode, done.stdout) == (0, f"{glass.url} is open in the browser\n")
    assert done.stderr == "Opening in existing browser session.\n", "a browser's own words are no answer"
    address = noted.read_text().strip()
    assert address.startswith(f"{glass.url}/open?key=")
    assert glass.password not in address + done.stdout + done.stderr
    kept = list((window_node.home / "flower" / "keys").iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    assert address.rpartition("=")[2] not in kept[0].name

    with somebody(browser) as page:
        assert page.goto(f"{glass.url}/open?key=wrong").status == 403
        assert page.goto(address).status == 200, "a wrong key has not burnt the good one"
        assert page.url == f"{glass.url}/", "no key stays in the address"
        page.wait_for_selector("text=worker@n1")
        cookie = next(one for one in page.context.cookies() if one["name"].startswith("infra-"))
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert 0 < cookie["expires"] - time.time() <= 12 * 3600 + 60
    with somebody(browser) as page:
        assert page.goto(address).status == 403, "a key opens once"
        assert not is_let_in(page, glass.url)


def test_infra_open_print_says_where_it_is_and_the_password_only_if_asked(window_node, glass):
    said = window_node.infra("open", "--print")
    assert (said.returncode, said.stderr) == (0, "")
    assert glass.url in said.stdout
    assert str(window_node.home / "secrets" / "flower.password") in said.stdout
    assert glass.password not in said.stdout
    assert glass.password in window_node.infra("open", "--print", "--password").stdout


def test_where_no_browser_can_be_shown_the_address_is_printed(window_node, glass):
    without = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "from elsewhere"}
    said = window_node.python("-m", "infra_tasks.cli", "open", env=without)
    assert said.returncode == 0
    assert "no browser" in said.stderr
    assert glass.url in said.stdout
    told = window_node.python("-m", "infra_tasks.cli", "open", "--json", env=without)
    assert json.loads(told.stdout) == {
        "url": glass.url,
        "user": USER,
        "password_file": str(window_node.home / "secrets" / "flower.password"),
        "opened": False,
    }


def test_a_person_logs_in_with_the_password_and_sees_a_run_go_through(glass, browser, call, book):
    with somebody(browser, USER, "wrong") as page:
        assert not is_let_in(page, glass.url)
    with somebody(browser, USER, glass.password) as page:
        assert is_let_in(page, glass.url)
        page.wait_for_selector("#workers-table >> text=worker@n1")
        page.wait_for_selector("#workers-table >> text=Online")
        run_id = call(accept, {"command": "sleep 2; echo done", "name": "nightly report"})
        eventually(lambda: glass.state(run_id), WITHIN_S, "Flower knows the run")
        page.goto(f"{glass.url}/tasks")
        page.wait_for_selector(f"#tasks-table >> text={run_id[:8]}")
        page.wait_for_selector("#tasks-table >> text=nightly report node=n1")
        page.goto(f"{glass.url}/task/{run_id}")
        shows(page, "SUCCESS")
        assert "infra_tasks.run_spec" in page.inner_text("body")
    assert state(book, run_id) == "SUCCESS"
    assert glass.tells(f"/api/task/result/{run_id}")["result"]["exit_code"] == 0, "Flower has our result backend"


def test_a_run_is_terminated_there_and_nothing_of_it_lives(window_node, glass, browser, call, book):
    run_id = call(accept, {"command": "sleep 300 & sleep 300", "grace_s": 1, "name": "long"})
    eventually(lambda: state(book, run_id) == glass.state(run_id) == "STARTED", WITHIN_S, "it runs, and Flower knows")
    eventually(lambda: len(window_node.run_processes()) >= 2, WITHIN_S, "its processes live")
    with somebody(browser, USER, glass.password) as page:
        page.goto(f"{glass.url}/task/{run_id}")
        page.click("#task-terminate")
        eventually(lambda: state(book, run_id) == "REVOKED", WITHIN_S, "the ledger says REVOKED")
        assert window_node.run_processes() == []
        shows(page, "REVOKED")
    assert "revoke" in {event.actor for event in book.runs.events(run_id)}


def test_a_run_that_waits_is_seen_and_revoked_there(glass, browser, call, book):
    run_id = call(accept_for_later, {"command": ["true"], "name": "later"})
    eventually(lambda: glass.state(run_id) == "RECEIVED", WITHIN_S, "Flower knows what no worker has seen")
    with somebody(browser, USER, glass.password) as page:
        page.goto(f"{glass.url}/task/{run_id}")
        page.click("#task-revoke")
        eventually(lambda: state(book, run_id) == "REVOKED", WITHIN_S, "the ledger says REVOKED")
        shows(page, "REVOKED")


def test_a_run_whose_hint_died_is_shown_as_the_ledger_knows_it(window_node, glass, call, book):
    run_id = call(accept, {"command": ["sleep", "300"], "grace_s": 1})
    eventually(lambda: state(book, run_id) == glass.state(run_id) == "STARTED", WITHIN_S, "it runs, and Flower knows")
    window_node.kill("children")
    eventually(lambda: glass.tells("/api/tasks?state=FAILURE") == {}, WITHIN_S, "Flower is told it did not fail")
    eventually(lambda: glass.state(run_id) == "STARTED", WITHIN_S, "it is shown as going on")
    assert state(book, run_id) == "STARTED"
    book.runs.cancel(run_id, kill=True)
    eventually(lambda: glass.state(run_id) == "REVOKED", WITHIN_S, "it is shown as cancelled")


def test_what_flower_heard_and_who_was_let_in_outlives_kill_9(window_node, glass, browser, call):
    run_id = call(accept, {"command": ["true"], "name": "kept"})

    def heard():  # of the worker itself; before that it may have asked the ledger
        told = glass.tells(f"/api/task/info/{run_id}")
        return told if "'exit_code': 0" in (told.get("result") or "") else None

    known = eventually(heard, WITHIN_S, "Flower heard of it")
    saved = window_node.home / "flower" / "state"
    heard_at = time.time_ns()
    eventually(lambda: any(changed_at(path) > heard_at for path in saved.parent.glob("state*")), WITHIN_S, "saved")
    with somebody(browser, USER, glass.password) as page:
        page.goto(f"{glass.url}/task/{run_id}")
        before = window_node.role_pid("flower")
        window_node.kill("flower")
        eventually(lambda: window_node.role_pid("flower") not in {None, before}, WITHIN_S, "the role is back")
        eventually(lambda: glass.state(run_id) == "SUCCESS", WITHIN_S, "it remembers the run")
        assert glass.tells(f"/api/task/info/{run_id}") == known, "as it heard of it, not as the ledger tells it"
        page.reload()
        assert "kept" in page.inner_text("body")
    eventually(lambda: glass.tells("/api/workers?status=1").get("worker@n1"), WITHIN_S, "it hears the worker again")


def test_the_page_answers_and_hears_again_after_redis_was_killed(window_node, glass, call, book):
    def heard():
        told = glass.asks("/metrics")[2].splitlines()
        return sum(float(line.split()[-1]) for line in told if 'type="task-succeeded"' in line)

    before = window_node.role_pid("redis")
    window_node.kill("redis")
    assert glass.asks("/workers")[0] == 200
    eventually(lambda: window_node.role_pid("redis") not in {None, before}, WITHIN_S, "Redis is back")
    seen = heard()

    def hears_one():
        try:
            run_id = call(accept, {"command": ["true"]})
        except CallerRaised:  # it reads its file still
            return False
        eventually(lambda: state(book, run_id) == "SUCCESS", WITHIN_S, "a run goes through")
        assert glass.asks("/tasks")[0] == 200
        return heard() > seen

    eventually(hears_one, WITHIN_S, "Flower hears of one of them")


def test_no_secret_is_told_by_a_worker_or_shown_by_flower(window_node, glass, call):
    hidden = "v3ry-h1dden"
    secrets = [path.read_text().strip() for path in (window_node.home / "secrets").glob("*.password")]
    assert len(secrets) >= 2
    spec = {"command": ["echo", hidden], "env": {"TOKEN": hidden}, "name": "with-env", "timeout_s": 50}
    ids = [call(accept, {**spec, "command": ["true"]}), call(send_foreign, {**spec, "command": ["true"]})]
    for run_id in ids:
        eventually(lambda run_id=run_id: glass.state(run_id) == "SUCCESS", WITHIN_S, "Flower heard of it")
    assert glass.tells(f"/api/task/info/{ids[1]}")["args"].startswith("with-env"), "also what a foreign client sent"

    told = {"workers": json.dumps(call(conf_of_workers))}
    assert "worker@n1" in told["workers"]
    assert "control@n1" in told["workers"]
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/worker/worker@n1", "/worker/control@n1", "/nothing"]
    pages += ["/api/workers?refresh=1", "/api/tasks", "/api/queues/length", *(f"/task/{run_id}" for run_id in ids)]
    for worker in ("worker@n1", "control@n1"):  # Flower asks them itself, and waits a second for an answer
        eventually(lambda worker=worker: "broker_url" in glass.asks(f"/worker/{worker}")[2], WITHIN_S, "it is known")
    told |= {page: glass.asks(page)[2] for page in pages}
    assert "broker_url" in told["/worker/worker@n1"]
    for place, text in told.items():
        for secret in [*secrets, hidden]:
            assert secret not in text, place


def test_only_its_own_pages_on_this_machine_may_do_anything(glass):
    port = glass.url.rpartition(":")[2]
    there = f"127.0.0.1:{port}"
    assert glass.asks("/workers")[0] == 200
    assert glass.asks("/workers", login="")[0] == 401
    assert glass.asks("/workers", login=f"{USER}:wrong")[0] == 401
    assert glass.asks("/api/tasks", login="")[0] == 401
    assert glass.asks("/healthcheck", login="")[0] == 200
    assert glass.asks("/workers", Host=f"localhost:{port}")[0] == 200
    assert glass.asks("/workers", Host="evil.example")[0] == 403, "a name that was made to point here"
    revoke = "/api/task/revoke/some-id"
    assert glass.asks(revoke, method="POST", Origin="http://evil.example")[0] == 403
    assert glass.asks(revoke, method="POST", Origin="null")[0] == 403
    assert glass.asks(revoke, method="POST", Origin="http://127.0.0.1:1")[0] == 403, "another server on this machine"
    assert glass.asks(revoke, method="POST", Sec_Fetch_Site="same-site")[0] == 403
    assert glass.asks(revoke, method="POST", Origin=f"http://{there}")[0] == 200
    assert glass.asks("/workers")[1]["X-Frame-Options"] == "DENY"


def test_read_only_offers_nothing_and_refuses_everything(window_node, glass, browser, call, book):
    before = window_node.role_pid("flower")
    window_node.write_fleet()
    eventually(lambda: window_node.role_pid("flower") not in {None, before}, WITHIN_S, "Flower starts anew")
    run_id = call(accept, {"command": ["sleep", "300"], "grace_s": 1})
    eventually(lambda: state(book, run_id) == glass.state(run_id) == "STARTED", WITHIN_S, "it runs, and Flower knows")
    with somebody(browser, USER, glass.password) as page:
        page.goto(f"{glass.url}/task/{run_id}")
        assert "STARTED" in page.inner_text("body")
        assert page.locator("#task-terminate").count() == 0
    for path in (f"/api/task/revoke/{run_id}?terminate=1", "/api/worker/shutdown/worker@n1"):
        assert glass.asks(path, method="POST")[0] == 403
    assert glass.asks("/api/task/send-task/infra_tasks.run_spec", method="POST")[0] == 403
    assert state(book, run_id) == "STARTED"
    book.runs.cancel(run_id, kill=True)
    eventually(lambda: glass.state(run_id) == "REVOKED", WITHIN_S, "cancelled otherwise, it is shown so")
