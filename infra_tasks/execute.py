"""What a node does with a hint: lock, claim, bring the code, start the shim, wait, report.

Everything here may die at any line. What was claimed stands in `live/`; the agent finds it there by its free lock.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from infra_tasks import live, releases, settings
from infra_tasks.errors import FleetUnreachable, LaunchFailed, NodeUnreachable, ReleaseError, SetupFailed
from infra_tasks.gather import asks, gather_at_last
from infra_tasks.ledger.code import SyncEntry
from infra_tasks.live import Token
from infra_tasks.model.outcome import unstarted
from infra_tasks.model.run import is_final
from infra_tasks.model.setup_rules import SetupRules
from infra_tasks.model.spec import RunSpec
from infra_tasks.report import report, result_in
from infra_tasks.runner import exitrecord
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.clock import boot_clock, boot_id
from infra_tasks.submit import is_run_id
from infra_tasks.suppliers import source_here, supplying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.runner.launch import Zygote

# A hint whose run finds no free slot (or a ledger in safe mode) waits in its worker and asks again this often.
ASK_AGAIN_S = 0.1
ASK_AGAIN_AT_MOST_S = 1.0
# A node that could give the code and cannot be reached is asked so often, with a pause.
FETCHES = 3
FETCH_AGAIN_S = 5.0
PATIENT = frozenset({"full", "safe"})
WRONG_NUMBER = "attempt"  # why a claim is refused: another attempt had this number


@dataclass(frozen=True)
class Verdict:
    """What became of a hint: `final` with the run's result, `unknown` run, or `dropped`: nothing to do here.

    `followed`: something may be waiting for the end of this run (canvas, callbacks). `home_node`: where outputs of what
    follows are wanted, None when that is not known here.
    """

    said: str
    result: dict[str, Any] = field(default_factory=dict)
    cause: str = ""
    followed: bool = True
    home_node: str | None = None


class Held:
    """An open descriptor that is closed once: handed over in the middle, or given back at the end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Give it back; later calls do nothing (the number may be somebody else's by then)."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass
class Prepared:
    """Where the command runs, and what must stay held while it does."""

    cwd: Path
    release: str = ""
    holds: list[Held] = field(default_factory=list)
    fetched: SyncEntry | None = None  # what had to come from another node first


class Executor:
    """Carries runs out on this node, one at a time."""

    def __init__(self, node: Callable[[], ThisNode], ledger: Ledger, zygote: Zygote) -> None:
        self._node = node
        self._ledger = ledger
        self._zygote = zygote
        self._pause = Event()

    def follow(self, run_id: str) -> Verdict:
        """Do what a hint asks for. Returns when the run needs nothing more from this hint."""
        pause_s = ASK_AGAIN_S
        while True:
            verdict = self._follow_once(run_id)
            if verdict.said not in PATIENT:
                return verdict
            self._pause.wait(pause_s)
            pause_s = min(pause_s * 1.5, ASK_AGAIN_AT_MOST_S)

    def _follow_once(self, run_id: str) -> Verdict:
        me = self._node()
        if not is_run_id(run_id):
            return Verdict("unknown")
        if (me.home.root / "stopping.json").exists():
            return Verdict("dropped", cause="this node stops")
        if not (me.home.runs / run_id).exists():
            # Nothing of it was ever here: most likely it is the first attempt, and the claim says so if it is not.
            verdict = self._try(me, Token(run_id, 1, secrets.token_hex(8)))
            if verdict.cause != WRONG_NUMBER:
                return verdict
        return self._follow_known(me, run_id)

    def _follow_known(self, me: ThisNode, run_id: str) -> Verdict:
        """Ask first which attempt is the next."""
        state, claimed = self._ledger.runs.peek(run_id)
        if state is None:
            return Verdict("unknown")
        if state != "QUEUED" and not is_final(state):
            return Verdict("dropped", cause=f"run is {state}")
        if is_final(state):
            return self._verdict(self._claim(me, Token(run_id, claimed + 1, secrets.token_hex(8))))
        return self._try(me, Token(run_id, _next_number(me, run_id, claimed), secrets.token_hex(8)))

    def _try(self, me: ThisNode, token: Token) -> Verdict:
        """Lock and claim an attempt, and carry it out. One that is not given leaves no trace."""
        attempt = Attempt(me.home.attempt(token.run, token.attempt))
        fd = attempt.take_lock()
        if fd is None:
            return Verdict("dropped", cause="this node is at it already")
        lock = Held(fd)
        try:
            return self._claim_and_carry(me, token, attempt, lock)
        finally:
            lock.close()

    def _claim_and_carry(self, me: ThisNode, token: Token, attempt: Attempt, lock: Held) -> Verdict:
        if attempt.is_over():
            return Verdict("dropped", cause="this attempt was ended before")
        live.enter(me.home, token)
        sent_at = boot_clock()
        answer = self._claim(me, token)
        if answer["said"] != "claimed":
            live.leave(me.home, token)
            attempt.forget()
            return self._verdict(answer)
        self._carry(me, token, attempt, lock, answer["fields"], sent_at)
        outputs = gather_at_last(me, self._ledger, token, attempt) if asks(answer["fields"]) else None
        answer |= report(
            me.home, self._ledger, token, attempt, actor=f"worker {me.name}", waited_for=True, outputs=outputs
        )
        return self._verdict(answer)

    def _claim(self, me: ThisNode, token: Token) -> dict[str, Any]:
        return self._ledger.claims.claim(
            *token,
            node=me.name,
            uuid=me.uuid,
            slots=me.node.slots,
            labels=me.node.labels,
            actor=f"worker {me.name}",
        )

    def _verdict(self, answer: dict[str, Any]) -> Verdict:
        if answer["said"] == "final":
            fields = answer.get("fields")
            followed = fields is None or bool(fields.get("canvas"))
            home_node = None if fields is None else fields.get("home_node", "")
            return Verdict("final", result_in(answer), answer.get("cause") or "", followed, home_node)
        if answer["said"] == "refused" and answer["why"] in PATIENT | {"unknown"}:
            return Verdict(answer["why"])
        return Verdict("dropped", cause=str(answer.get("why") or answer["said"]))

    def _carry(
        self, me: ThisNode, token: Token, attempt: Attempt, lock: Held, fields: dict[str, str], sent_at: float
    ) -> None:
        """From the claim to an exit record on disk."""
        spec = RunSpec.from_json(fields["spec"])
        record = {
            "run": token.run,
            "attempt": token.attempt,
            "claim": token.claim,
            "node": me.name,
            "project": spec.project,
            "command": spec.argv,
            "timeout_s": float(fields["timeout_s"]),
            "grace_s": spec.grace_s,
            "stop_at": None if spec.pinned else sent_at + spec.stop_after_s,
            "cookie": secrets.token_hex(16),
            "mark": secrets.randbits(56) + (1 << 56),
            "output_cap_bytes": me.fleet.limits.output_bytes,
            "boot_id": boot_id(),
            "fields": fields,
        }
        try:
            if spec.project:  # preparing its code may take long: whoever finds this attempt meanwhile needs its record
                attempt.write_record({**record, "cwd": os.fspath(attempt.scratch), "env": {}})
            prepared = self._prepare(me, spec, fields, attempt)
        except SetupFailed as error:
            return _fail(attempt, record, _ordered(attempt) or "start_failed", str(error))
        except ReleaseError as error:
            return _fail(attempt, record, _ordered(attempt) or "sync_failed", str(error))
        except OSError as error:
            return _fail(attempt, record, "lost", f"its folder cannot be written: {error}")
        record |= {
            "cwd": os.fspath(prepared.cwd),
            "release": prepared.release,
            "env": environment(me.name, token, spec, str(record["cookie"]), prepared, attempt),
        }
        try:
            if unwritten := _unwritten(attempt, record):
                return _fail(attempt, record, "lost", unwritten)
            if spec.project and not self._may_start(me, token, prepared):
                return _fail(attempt, record, "fenced", "its claim was refused at the start")
            self._launch(attempt, record, lock, prepared.holds)
        finally:
            for held in prepared.holds:
                held.close()
        return None

    def _may_start(self, me: ThisNode, token: Token, prepared: Prepared) -> bool:
        entry = prepared.fetched
        cause = f"code verified: {entry.words()}" if entry else None
        said = self._ledger.claims.start(*token, release=prepared.release, actor=f"worker {me.name}", cause=cause)
        if entry:
            with suppress(FleetUnreachable):  # the log is for people: nothing waits for it
                self._ledger.code.note_sync(entry, patience_s=0)
        return bool(said["said"] == "ok")

    def _prepare(self, me: ThisNode, spec: RunSpec, fields: dict[str, str], attempt: Attempt) -> Prepared:
        attempt.scratch.mkdir(parents=True, exist_ok=True)
        if not spec.project:
            return Prepared(attempt.scratch)
        rules = SetupRules.of_run(fields.get("rules"), me.fleet.projects.get(spec.project))
        began = time.monotonic()
        wanted = lambda: _ordered(attempt) is None  # noqa: E731
        with supplying(me, self._ledger, spec.project, fields["release"], wanted) as supply:
            place = self._place(me, spec.project, fields["release"], rules, attempt, supply.carrier)
            entry = _fetched(me, place, supply.source, time.monotonic() - began)
        return Prepared(place.cwd, place.release.digest, [Held(place.hold_fd)], entry)

    def _place(
        self, me: ThisNode, project: str, digest: str, rules: SetupRules, attempt: Attempt, carrier: Carrier
    ) -> releases.Place:
        """Take the run's place; a node that could give the code and is away for a moment is asked again."""
        for tries_left in reversed(range(FETCHES)):
            try:
                return releases.take_place(
                    me.home,
                    project,
                    digest,
                    copy_into=attempt.folder / "private",
                    source=source_here(me, project),
                    carrier=carrier,
                    setup=rules.setup,
                    setup_timeout_s=rules.setup_timeout_s,
                    setup_env=settings.inherited(),
                    private=rules.private,
                    wanted=lambda: _ordered(attempt) is None,
                )
            except NodeUnreachable:
                if not tries_left or _ordered(attempt):
                    raise
                self._pause.wait(FETCH_AGAIN_S)
        raise AssertionError("the last try raises or returns")

    def _launch(self, attempt: Attempt, record: dict[str, Any], lock: Held, holds: list[Held]) -> None:
        """Start the shim, give it the lock, and wait until it has ended."""
        try:
            shim = self._zygote.launch(attempt, lock.fd, [held.fd for held in holds])
        except LaunchFailed as error:
            return _fail(attempt, record, "lost", f"no shim could be started: {error}")
        for held in [lock, *holds]:
            held.close()
        with shim:
            shim.wait()
        return None


def _fetched(me: ThisNode, place: releases.Place, source: str, duration_s: float) -> SyncEntry | None:
    """Return what had to come before the run could start, None if all was here."""
    brought = place.release.brought
    if brought is None:
        return None
    return SyncEntry(
        project=place.release.project,
        release=place.release.digest,
        node=me.name,
        why="pull",
        said="brought",
        source=source,
        files=brought.files,
        size_bytes=brought.size_bytes,
        shared_files=brought.shared_files,
        duration_s=duration_s,
    )


def _next_number(me: ThisNode, run_id: str, claimed: int) -> int:
    """Return the number of the next attempt: one whose claim never arrived was buried here, and is left out."""
    number = claimed + 1
    while Attempt(me.home.attempt(run_id, number)).is_over():
        number += 1
    return number


def environment(
    node: str, token: Token, spec: RunSpec, cookie: str, prepared: Prepared, attempt: Attempt
) -> dict[str, str]:
    """Return the whole environment of a command: the node's, the spec's, and ours (INFRA_...)."""
    ours = {
        "INFRA_RUN": token.run,
        "INFRA_ATTEMPT": str(token.attempt),
        "INFRA_TOKEN": f"{token.attempt}:{token.claim}",
        "INFRA_NODE": node,
        "INFRA_SCRATCH": os.fspath(attempt.scratch),
        "INFRA_COOKIE": cookie,
    }
    if spec.project:
        # A release is immutable: python must not try to keep compiled files beside its sources.
        ours |= {"INFRA_PROJECT": spec.project, "INFRA_RELEASE": prepared.release}
        return {**settings.inherited(), "PYTHONDONTWRITEBYTECODE": "1", **spec.env, **ours}
    return {**settings.inherited(), **spec.env, **ours}


def _ordered(attempt: Attempt) -> str | None:
    """Return the outcome somebody ordered for an attempt whose command has not started."""
    stop = attempt.orders().get("stop")
    return "cancelled" if stop == "cancel" else stop


def _unwritten(attempt: Attempt, record: dict[str, Any]) -> str:
    """Write the record; return why that cannot be done (a full disk). Its exit record then waits for room."""
    try:
        attempt.write_record(record)
    except OSError as error:
        return f"its record cannot be written: {error}"
    return ""


def _fail(attempt: Attempt, record: dict[str, Any], outcome: str, error: str) -> None:
    exitrecord.write_exit(attempt.path, unstarted(record, outcome, error, now=time.time()))
