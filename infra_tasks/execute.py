"""What a node does with a hint: lock, claim, bring the code, start the shim, wait, report.

Everything here may die at any line. What was claimed stands in `live/`; the agent finds it there by its free lock.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from infra_tasks import __version__, live, pulled, releases, settings
from infra_tasks.environment import environment, secrets_of
from infra_tasks.errors import LaunchFailed, NodeUnreachable, ReleaseError, SecretUnavailable, SetupFailed
from infra_tasks.gather import asks, gather_at_last
from infra_tasks.live import Token
from infra_tasks.model.outcome import unstarted
from infra_tasks.model.recorded import refusal
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
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.code import SyncEntry
    from infra_tasks.node import ThisNode
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.runner.launch import Zygote

# A hint that finds no free slot on the only node that may take its run (or a ledger in safe mode) waits in its worker,
# which asks again this often. One that others may take goes back, and who had it takes none for the longest pause.
ASK_AGAIN_S = 0.1
ASK_AGAIN_AT_MOST_S = 1.0
# A node that could give the code and cannot be reached is asked so often, with a pause.
FETCHES = 3
FETCH_AGAIN_S = 5.0
FULL = "full"
PATIENT = frozenset({FULL, "safe"})
CORDONED = "cordoned"  # why a claim is refused: nothing new is placed on this node
HANDED_BACK = "this node has no free slot, others may have one"
OLDER = "older"  # why a claim is refused: this version does not know all of the spec, as it found before
TO_OTHERS = frozenset({CORDONED, HANDED_BACK, OLDER})
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

    def __init__(
        self,
        node: Callable[[], ThisNode],
        ledger: Ledger,
        zygote: Zygote,
        ask_check: Callable[[str, str, str], object] = lambda *_: None,
    ) -> None:
        """`ask_check` has (node, project, digest) checked soon, or lets it be."""
        self._node = node
        self._ledger = ledger
        self._zygote = zygote
        self._ask_check = ask_check
        self._pause = Event()

    def follow(self, run_id: str) -> Verdict:
        """Do what a hint asks for. Returns when the run needs nothing more from this hint."""
        pause_s = ASK_AGAIN_S
        while True:
            verdict = self._follow_once(run_id)
            if verdict.cause in TO_OTHERS:  # this child must not be the one that gets the hint next
                self._pause.wait(ASK_AGAIN_AT_MOST_S)
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
        try:
            fd = attempt.take_lock()
        except OSError as error:
            return Verdict("dropped", cause=f"this node has no room for an attempt: {error}")
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
        try:
            live.enter(me.home, token)
        except OSError as error:
            attempt.forget()
            return Verdict("dropped", cause=f"this node has no room for an attempt: {error}")
        sent_at = boot_clock()
        answer = self._claim(me, token)
        if answer["said"] != "claimed":
            live.leave(me.home, token)
            attempt.forget()
            return self._verdict(answer)
        if why := refusal(answer["fields"]["spec"], __version__):
            cure = f"{why} on {me.name}; upgrade that node (docs/upgrade.md)"
            if self._given_back(me, token, attempt, cure):
                return Verdict("dropped", cause=OLDER)
            _fail(attempt, _head(me, token), "start_failed", cure)
        else:
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
            version=__version__,
        )

    def _given_back(self, me: ThisNode, token: Token, attempt: Attempt, cause: str) -> bool:
        """Give a run back that other nodes may take, and say whether it was: with nothing to tell of it."""
        said = self._ledger.claims.decline(
            *token, node=me.name, version=__version__, cause=cause, actor=f"worker {me.name}"
        )["said"]
        if said == "declined":
            live.leave(me.home, token)
            attempt.forget()
        return said in {"declined", "safe"}  # in safe mode it stays entered, and the agent gives it back as unstarted

    def _verdict(self, answer: dict[str, Any]) -> Verdict:
        if answer["said"] == "final":
            fields = answer.get("fields")
            followed = fields is None or bool(fields.get("canvas"))
            home_node = None if fields is None else fields.get("home_node", "")
            return Verdict("final", result_in(answer), answer.get("cause") or "", followed, home_node)
        if answer["said"] == "refused" and answer["why"] == FULL and answer.get("handed_back"):
            return Verdict("dropped", cause=HANDED_BACK)
        if answer["said"] == "refused" and answer["why"] in PATIENT | {"unknown"}:
            return Verdict(answer["why"])
        return Verdict("dropped", cause=str(answer.get("why") or answer["said"]))

    def _carry(
        self, me: ThisNode, token: Token, attempt: Attempt, lock: Held, fields: dict[str, str], sent_at: float
    ) -> None:
        """From the claim to an exit record on disk."""
        spec = RunSpec.recorded(fields["spec"])
        record = {
            **_head(me, token),
            "fields": fields,
            "project": spec.project,
            "command": spec.argv,
            "timeout_s": float(fields["timeout_s"]),
            "grace_s": spec.grace_s,
            "memory_bytes": spec.memory_bytes,
            "stop_at": None if spec.pinned else sent_at + spec.stop_after_s,
            "cookie": secrets.token_hex(16),
            "mark": secrets.randbits(56) + (1 << 56),
            "output_cap_bytes": me.fleet.limits.output_bytes,
        }
        try:
            if spec.project:  # preparing its code may take long: whoever finds this attempt meanwhile needs its record
                attempt.write_record({**record, "cwd": os.fspath(attempt.scratch), "env": {}})
            prepared = self._prepare(me, spec, fields, attempt)
        except SetupFailed as error:
            return _fail(attempt, record, _ordered(attempt) or "start_failed", str(error))
        except ReleaseError as error:
            ordered = _ordered(attempt)
            if not ordered:
                failure = pulled.failure(me, spec.project or "", fields["release"], str(error))
                pulled.tell(self._ledger, failure, self._ask_check)
            away = isinstance(error, NodeUnreachable)
            return _fail(attempt, record, ordered or "sync_failed", str(error), holder_away=away)
        except OSError as error:
            return _fail(attempt, record, "lost", f"its folder cannot be written: {error}")
        record |= {
            "cwd": os.fspath(prepared.cwd),
            "release": prepared.release,
            "env": environment(me.name, token, spec, str(record["cookie"]), prepared.release, attempt),
            "secrets": sorted(spec.secrets),
        }
        try:
            if unwritten := _unwritten(attempt, record):
                return _fail(attempt, record, "lost", unwritten)
            if spec.project and not self._may_start(me, token, prepared):
                return _fail(attempt, record, "fenced", "its claim was refused at the start")
            goes_on = lambda: _ordered(attempt) is None  # noqa: E731
            self._launch(attempt, record, lock, prepared.holds, lambda: secrets_of(me, spec, goes_on))
        finally:
            for held in prepared.holds:
                held.close()
        return None

    def _may_start(self, me: ThisNode, token: Token, prepared: Prepared) -> bool:
        entry = prepared.fetched
        cause = f"code verified: {entry.words()}" if entry else None
        said = self._ledger.claims.start(*token, release=prepared.release, actor=f"worker {me.name}", cause=cause)
        if entry:
            pulled.tell(self._ledger, entry, self._ask_check)
        return bool(said["said"] == "ok")

    def _prepare(self, me: ThisNode, spec: RunSpec, fields: dict[str, str], attempt: Attempt) -> Prepared:
        attempt.scratch.mkdir(parents=True, exist_ok=True)
        if not spec.project:
            return Prepared(attempt.scratch)
        rules = SetupRules.of_run(fields.get("rules"), me.fleet.projects.get(spec.project)).asked(private=spec.private)
        began = time.monotonic()
        wanted = lambda: _ordered(attempt) is None  # noqa: E731
        with supplying(me, self._ledger, spec.project, fields["release"], wanted) as supply:
            place = self._place(me, spec.project, fields["release"], rules, attempt, supply.carrier)
            entry = pulled.entry_of(me, place, supply.source, time.monotonic() - began)
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

    def _launch(
        self,
        attempt: Attempt,
        record: dict[str, Any],
        lock: Held,
        holds: list[Held],
        secrets_of_run: Callable[[], Mapping[str, str]],
    ) -> None:
        """Start the shim, give it the secrets and the lock, and wait until it has ended."""
        try:
            shim = self._zygote.launch(attempt, lock.fd, [held.fd for held in holds], secrets_of_run())
        except SecretUnavailable as error:
            return _fail(attempt, record, _ordered(attempt) or "start_failed", str(error))
        except LaunchFailed as error:
            return _fail(attempt, record, "lost", f"no shim could be started: {error}")
        for held in [lock, *holds]:
            held.close()
        with shim:
            shim.wait()
        return None


def _head(me: ThisNode, token: Token) -> dict[str, Any]:
    return {**token._asdict(), "node": me.name, "boot_id": boot_id()}


def _next_number(me: ThisNode, run_id: str, claimed: int) -> int:
    """Return the number of the next attempt: one whose claim never arrived was buried here, and is left out."""
    number = claimed + 1
    while Attempt(me.home.attempt(run_id, number)).is_over():
        number += 1
    return number


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


def _fail(attempt: Attempt, record: dict[str, Any], outcome: str, error: str, **more: Any) -> None:
    exitrecord.write_exit(attempt.path, unstarted(record, outcome, error, now=time.time()) | more)
