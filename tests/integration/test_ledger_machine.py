"""No sequence of calls - doubled, late, with old tokens, over restarts and older copies of Redis - breaks G2 or G3.

Two nodes with disks, callers, dispatchers, sweeps and clocks as hypothesis wants them. The model knows only what the
outside saw: which commands live on which node, and which ends were announced.
`LEDGER_MACHINE=long` tries other and more sequences than CI's fixed ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from ledger_kit import FAILED, LOST, UNSTARTED, WORKED, Kit, with_lanes
from redis_process import RedisProcess

from infra_tasks.model.run import Reason, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LONG = os.environ.get("LEDGER_MACHINE") == "long"
SLOTS = {"a": 2, "b": 1}
STOP_AFTER_S = 60.0
KINDS: dict[str, dict[str, Any]] = {
    "pinned": {"node": "a"},
    "pool": {"node": None},
    "retried": {"node": None, "retries": 2},
    "pinned retried": {"node": "b", "retries": 1},
    "never again": {"node": None, "retry_on": ["exit_code"]},
    "project": {"node": None, "project": "p"},
    "pinned project": {"node": "a", "project": "p", "retries": 1},
    "expiring": {"node": None, "expires_s": 20.0},
    "keyed": {"node": None, "idempotency_key": "k"},
    "one of a name": {"node": None, "name": "n", "max_running": 1, "retries": 1},
    "one of a name, pinned": {"node": "b", "name": "n", "max_running": 1},
    "any of a name": {"node": None, "name": "n", "retries": 1},
    "any of a name, pinned": {"node": "a", "name": "n"},
}
MOST_RUNNING = {"project:p": 1, "name:n": 1}
LANE_HINTS = 2
QUEUES = ("node.a", "node.b", "the pool", "dispatch.a")
OPTIONS: dict[str, dict[str, Any]] = {"now": {}, "later": {"delay_s": 3600.0}, "canvas": {"embed": {"callbacks": [{}]}}}
ENDS = {"worked": WORKED, "failed": FAILED, "lost": LOST, "unstarted": UNSTARTED,
        "cancelled": {"outcome": "cancelled", "started_at": 1.0, "ended_at": 2.0}}  # fmt: skip


@dataclass
class Attempt:
    """An attempt as its node's disk knows it."""

    node: str
    token: tuple[str, int, str]
    fields: dict[str, str]
    stop_at: float | None
    ended: dict[str, Any] | None = None
    told: str = ""  # the state it ended the run with
    reported: bool = False

    @property
    def alive(self) -> bool:
        return self.ended is None

    def as_presented(self) -> dict[str, Any]:
        run, attempt, claim = self.token
        said = {"run": run, "attempt": attempt, "claim": claim, "ended": not self.alive, "fields": self.fields}
        return {**said, "told": self.told} if self.told else said


# What happens, and how often.
OFTEN = {"submit": 2, "hints": 6, "command_ends": 4, "report": 2, "heartbeat": 3, "sweep": 2, "time_passes": 2,
         "dispatch": 3, "cancel": 1, "meddle": 3, "moment_comes": 1, "keep_a_copy": 1, "restart": 1,
         "roll_back": 2}  # fmt: skip
ACTIONS = [action for action, often in OFTEN.items() for _ in range(often)]
MEDDLING = ("submit again", "extend twice", "settle", "claim late", "start late", "decline again", "cordon", "uncordon",
            "uncordon")  # fmt: skip
ANSWERS = ("heard", "heard", "heard", "lost", "doubled", "declined")
VERSIONS = ("1", "1", "2")


class Choice:
    """A number that answers several questions, one after the other."""

    def __init__(self, number: int) -> None:
        self.left = number * 2654435761 + 40503

    def of(self, what: Sequence[Any]) -> Any:
        self.left, at = divmod(self.left, len(what))
        return what[at]

    def once_in(self, n: int) -> bool:
        return self.of(range(n)) == n - 1


class Fleet(RuleBasedStateMachine):
    """Callers and nodes on one ledger."""

    server: ClassVar[RedisProcess]
    copies: ClassVar[Path]

    @initialize(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=4))
    def begin(self, kinds: list[str]) -> None:
        self.kit = Kit(self.server.url, text=with_lanes(LANE_HINTS))
        self.real, self.made, self.claims = 0.0, 0, 0
        self.submitted: dict[str, tuple[str, str]] = {}
        self.disk: list[Attempt] = []
        self.announced: dict[str, tuple[str, dict[str, Any]]] = {}
        self.seen: dict[str, Any] = {}
        self.declined: list[tuple[str, tuple[str, int, str]]] = []
        self.copied = False
        for node in SLOTS:
            self.heartbeat_of(node)
        for kind in kinds:
            self.accept(kind, "now")

    def teardown(self) -> None:
        if hasattr(self, "kit"):
            self.kit.redis.flushall()
            self.kit.close()

    @rule(action=st.sampled_from(ACTIONS), number=st.integers(0, 2**40))
    def step(self, action: str, number: int) -> None:
        getattr(self, action)(Choice(number))

    def some_run(self, choice: Choice) -> str:
        live = sorted(run for run in self.submitted if run in self.seen and not self.seen[run].final)
        return str(choice.of(sorted(self.submitted) if choice.once_in(4) or not live else live))

    # Callers.

    def submit(self, choice: Choice) -> None:
        self.accept(choice.of(sorted(KINDS)), choice.of(sorted(OPTIONS)))

    def accept(self, kind: str, options: str) -> None:
        self.made += 1
        wanted = f"r{self.made}"
        if kind == "keyed":
            options = "now"  # nothing can be put behind a run that a key names
        run = self.kit.submit(wanted, options=OPTIONS[options], **KINDS[kind])
        assert run == wanted or kind == "keyed"
        self.submitted[run] = (kind, options)

    def cancel(self, choice: Choice) -> None:
        self.kit.runs._end_waiting(
            self.some_run(choice), State.REVOKED, None, "cancelled", "user", patience_s=0, kill=choice.once_in(2)
        )

    def meddle(self, choice: Choice) -> None:
        """Calls that come twice, late, or from people."""
        run, how = self.some_run(choice), choice.of(MEDDLING)
        if how == "submit again":
            kind, options = self.submitted[run]
            assert self.kit.submit(run, options=OPTIONS[options], **KINDS[kind]) == run
        elif how == "extend twice":
            told = {"run": run, "by_s": 1, "ceiling_s": 9000, "actor": "u", "nonce": f"n{choice.left}"}
            assert self.kit.scripts.call("extend", **told) == self.kit.scripts.call("extend", **told)
        elif how == "settle":
            self.kit.claims.settle(run)
        elif how == "decline again":
            self.decline_again(choice)
        elif how == "cordon":
            self.kit.nodes.cordon(choice.of(sorted(SLOTS)), "test")
        elif how == "uncordon":
            for node in SLOTS:
                self.kit.nodes.uncordon(node)
        elif self.disk:
            self.late(choice.of(self.disk), how)

    def late(self, one: Attempt, how: str) -> None:
        run, attempt, claim = one.token
        if how == "start late":
            self.kit.claims.start(*one.token, release="f" * 64, actor=one.node)
            return
        said = self.kit.claim(run, claim, node=one.node, attempt=attempt, slots=SLOTS[one.node])
        if said["said"] == "claimed":
            assert self.seen[run].fields.get("claim") == claim, "an old claim was given again"

    # Dispatchers.

    def dispatch(self, choice: Choice) -> None:
        projects = sorted(run for run, (kind, _) in self.submitted.items() if "project" in kind)
        if not projects:
            return
        run, who = choice.of(projects), choice.of("dde")
        move = choice.of(["begin", "begin", "begin", "end", "end", "end", "renew", "later", "fail"])
        if move == "fail":
            self.kit.runs._end_waiting(
                run, State.FAILURE, Reason.SYNC_FAILED, "no", who, only_waiting=True, dispatch=who, patience_s=0
            )
        else:
            retry_in_s = 5.0 if move == "later" else None
            self.kit.claims.dispatch(move, run, who, node="a", actor=who, release="f" * 64, retry_in_s=retry_in_s)

    # Nodes.

    def hints(self, choice: Choice) -> None:
        """What a worker does with hints: claims, whose answers may get lost with the worker."""
        for _ in range(2):
            self.hint(choice, choice.of(sorted(SLOTS)), choice.of(ANSWERS))
            self.seen = self.kit.look()

    def hint(self, choice: Choice, node: str, answer: str) -> None:
        waiting = sorted(run for run, one in self.seen.items() if one.state == "QUEUED" and run in self.submitted)
        run = choice.of(waiting) if waiting and not choice.once_in(6) else self.some_run(choice)
        here = [one for one in self.disk if one.node == node and one.token[0] == run]
        if any(one.alive for one in here):
            return
        attempt = max([self.kit.runs.peek(run)[1], *(one.token[1] for one in here)]) + 1
        claim = f"c{self.claims}"
        self.claims += 1
        asked = {"node": node, "attempt": attempt, "slots": SLOTS[node], "version": choice.of(VERSIONS)}
        said = self.kit.claim(run, claim, **asked)
        if said["said"] != "claimed":
            return
        self.has_a_place(run)
        if answer == "lost":
            return
        if answer == "doubled":
            assert self.kit.claim(run, claim, **asked)["said"] == "claimed"
        stop_at = self.real + STOP_AFTER_S if said["fields"]["lease_until"] else None
        one = Attempt(node, (run, attempt, claim), said["fields"], stop_at)
        if answer != "declined" or not self.declines(one, asked["version"]):
            self.disk.append(one)

    def has_a_place(self, run: str) -> None:
        """Who limits its name has just been let in beside no more of it."""
        limit = KINDS[self.submitted[run][0]].get("max_running")
        if limit and not self.copied:
            assert self.kit.redis.scard(self.kit.key("running", "name:n")) <= limit, f"no place was free for {run}"

    def declines(self, one: Attempt, version: str) -> bool:
        """Say whether the node of an attempt that it does not understand could give it back; else it has to end."""
        said = self.decline(one.node, one.token, version)
        if said == "declined":
            self.declined.append((one.node, one.token))
            return True
        one.ended = ENDS["failed"] if said == "refused" else UNSTARTED
        return False

    def decline(self, node: str, token: tuple[str, int, str], version: str) -> str:
        said = self.kit.claims.decline(*token, node=node, version=version, cause="too old", actor=node)
        return str(said["said"])

    def decline_again(self, choice: Choice) -> None:
        """The answer got lost: the same is said, and nothing happens."""
        if not self.declined:
            return
        node, token = choice.of(self.declined)
        before = self.kit.redis.hgetall(self.kit.key("run", token[0]))
        said = self.decline(node, token, "1")
        assert self.kit.redis.hgetall(self.kit.key("run", token[0])) == before
        last = [one for where, one in self.declined if (where, one[0]) == (node, token[0])][-1]
        assert self.copied or token != last or said in {"declined", "safe"}

    def command_ends(self, choice: Choice) -> None:
        alive = [one for one in self.disk if one.alive]
        if alive:
            one = choice.of(alive)
            one.ended = ENDS[choice.of(sorted(ENDS))]
            if choice.once_in(2):
                self.tell(one)

    def report(self, choice: Choice) -> None:
        """An end is told, or told once more, whatever was answered."""
        anew = choice.once_in(3)
        ended = [one for one in self.disk if one.ended and (anew or not one.reported)]
        if ended:
            self.tell(choice.of(ended))

    def tell(self, one: Attempt) -> None:
        said = self.kit.finish(one.token, one.ended or {}, one.fields)
        if said["said"] == "safe":
            return
        one.reported = True
        if said["said"] == "final":
            one.told = said["state"]

    def heartbeat(self, choice: Choice) -> None:
        self.heartbeat_of(choice.of(sorted(SLOTS)))

    def heartbeat_of(self, node: str) -> None:
        mine = [one for one in self.disk if one.node == node and not one.reported]
        limits = {"p": MOST_RUNNING["project:p"]} if node == "a" else {}
        answer = self.kit.renew(node, tuple(one.token for one in mine), most_running=limits)
        for one in mine:
            wish = answer["attempts"].get(f"{one.token[0]}@{one.token[1]}") or {}
            if wish.get("fenced") and one.alive:
                one.ended = {"outcome": "fenced", "started_at": 1.0, "ended_at": 2.0}
            elif wish.get("leased"):
                one.stop_at = self.real + STOP_AFTER_S
        if answer["present"]:
            self.present(node)
        elif not answer["safe"]:
            known = {one.token for one in self.disk}
            for lost in answer["unheld"]:
                token = (lost["run"], lost["attempt"], lost["claim"])
                if token not in known:
                    self.kit.finish(token, LOST)

    def present(self, node: str) -> None:
        mine = [one for one in self.disk if one.node == node]
        if len(mine) % 2:
            mine.reverse()
        said = self.kit.claims.present(node, f"uuid-{node}", [one.as_presented() for one in mine], done=True)
        for one in mine:
            if one.ended and one.token[0] in {*said["taken"], *said["known"]}:
                one.reported = False

    # Time.

    def time_passes(self, choice: Choice) -> None:
        seconds = choice.of([1.0, 9.0, 9.0, 21.0, 59.0, 130.0])
        if self.kit.nodes.safe_mode() is not None:
            for node in SLOTS:
                self.heartbeat_of(node)
        self.kit.pass_time(seconds)
        self.real += seconds
        for one in self.disk:
            if one.alive and one.stop_at is not None and self.real >= one.stop_at:
                one.ended = {"outcome": "lease", "started_at": 1.0, "ended_at": 2.0}

    def moment_comes(self, choice: Choice) -> None:
        self.kit.moment_comes(self.some_run(choice))

    def sweep(self, choice: Choice) -> None:
        """Until nobody is forgotten: who is let through may free another, whose line was looked at before."""
        forgotten, turns = ["?"], 0
        while forgotten and turns < len(QUEUES):
            said = self.turn_of_sweep(choice.of(sorted(SLOTS)))
            self.seen, turns = self.kit.look(), turns + 1
            forgotten = [] if said["said"] == "safe" else self.forgotten(swept=True)
        assert not forgotten, f"nobody will ever let them through: {forgotten}"

    def forgotten(self, *, swept: bool = False) -> list[str]:
        return self.kit.forgotten(self.seen, MOST_RUNNING, LANE_HINTS, swept=swept)

    def turn_of_sweep(self, node: str) -> dict[str, Any]:
        said = self.kit.sweep(node)
        for run in said.get("expired", ()):
            self.kit.runs.expire(run)
        for run in said.get("lost", ()):
            fields = self.kit.redis.hgetall(self.kit.key("run", run))
            self.kit.finish((run, int(fields["attempt"]), fields["claim"]), LOST, lapsed=True)
        return said

    # Redis.

    def keep_a_copy(self, choice: Choice) -> None:
        if not self.copied and choice.once_in(2):
            self.server.copy_to(self.copies)
            self.copied = True

    def restart(self, choice: Choice) -> None:
        if choice.once_in(4):
            self.server.kill()
            self.server.start()

    def roll_back(self, choice: Choice) -> None:
        if not self.copied or choice.once_in(2):
            return
        self.server.kill()
        self.server.restore_from(self.copies)
        self.server.start()
        seen = self.kit.look()
        kept = {(one.token[0], one.told) for one in self.disk if one.told}
        self.announced = {
            run: end
            for run, end in self.announced.items()
            if (run in seen and seen[run].final) or (run, end[0]) in kept
        }
        remembered = {one.token[0] for one in self.disk} | set(seen)
        self.submitted = {run: said for run, said in self.submitted.items() if run in remembered}
        for run in set(self.submitted) - set(seen):  # until its node presents it, nobody can ask for it
            self.lost_for_now(run)

    def lost_for_now(self, run: str) -> None:
        for node in sorted({one.node for one in self.disk if one.token[0] == run}):
            self.heartbeat_of(node)
        assert self.kit.state(run), f"{run} was not restored from its node's record"

    # What must hold at any moment.

    @invariant()
    def everything_fits_together(self) -> None:
        if not hasattr(self, "kit"):
            return
        self.seen = self.kit.check()
        for run, one in self.seen.items():
            if one.final:
                end = (one.state, one.result)
                assert self.announced.setdefault(run, end) == end, f"{run}: announced {self.announced[run]}, now {end}"
        assert not self.forgotten(), f"nothing holds up {self.forgotten()}"
        if not self.copied:
            for gate, running in self.kit.members("running").items():
                limited = [
                    run for run in running if gate.startswith("project:") or self.seen[run].fields.get("most_named")
                ]
                assert len(limited) <= MOST_RUNNING.get(gate, len(limited)), f"too many of {gate}: {limited}"
            assert set(self.announced) <= {run for run, one in self.seen.items() if one.final}
        assert set(self.submitted) <= set(self.seen)
        alive = [one for one in self.disk if one.alive]
        for run in {one.token[0] for one in alive}:
            assert len([one for one in alive if one.token[0] == run]) == 1, f"{run} lives twice: {alive}"
        for node, slots in SLOTS.items():
            assert len([one for one in alive if one.node == node]) <= slots, f"too much on {node}: {alive}"


@pytest.mark.timeout(6000 if LONG else 1800)
def test_no_sequence_of_calls_gives_a_run_two_ends_or_two_lives(tmp_path: Path) -> None:
    Fleet.server = RedisProcess(tmp_path / "redis").start()
    Fleet.copies = tmp_path / "copy"
    try:
        run_state_machine_as_test(
            Fleet,
            settings=settings(
                max_examples=2000 if LONG else 54,
                stateful_step_count=80 if LONG else 50,
                derandomize=not LONG,
                database=None,
                deadline=None,
                print_blob=True,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Fleet.server.kill()
