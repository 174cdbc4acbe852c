"""The product with one guard switched off: the suite must notice, or it is worth nothing.

Each guard is a few words of the product and what is put in their place, in a copy of the tree: the product itself has
no switches. With each comes the storm in which it is sure to be missed, and what the checker then says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from package_copy import copy_package

import infra_tasks
from chaos.plan import Item, Part, Wish
from chaos.storm import DRAIN_S, Script, Storm, Weather
from chaos.strikes import Strike

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from chaos.beds.bed import Bed

LUA = "infra_tasks/ledger/lua"
GIVEN_UP_S = 15.0
"""What has not come to rest by then without a guard is lost; whole, the product is waited for as long as any."""


@dataclass(frozen=True)
class Swap:
    """What stands once in a file of the product, and what is put in its place."""

    file: str
    text: str
    instead: str


@dataclass(frozen=True)
class Guard:
    """A guard. `found`: what the suite says without it, one of these at least; `missed_by`: which nemesis shows it."""

    swaps: tuple[Swap, ...]
    bed: str
    script: Script
    found: frozenset[str]
    missed_by: str


def without(name: str, folder: Path) -> Path:
    """Make a tree of the product without a guard; return it. Raises ValueError if its words are not there."""
    tree = copy_package(folder, infra_tasks.__version__)
    for swap in GUARDS[name].swaps:
        file = tree / swap.file
        file.write_text(swapped(file.read_text(), swap))
    return tree


def swapped(text: str, swap: Swap) -> str:
    """Return a file's text without the guard."""
    times = text.count(swap.text)
    if times != 1:
        raise ValueError(f"{swap.file} holds {swap.text!r} {times} times, not once: say anew what this guard is")
    return text.replace(swap.text, swap.instead)


def storm(
    bed: Bed, name: str, *, tell: Callable[[str], object], folder: Path | None = None, rest_s: float = DRAIN_S
) -> Storm:
    """Return the storm that misses a guard, for a bed with it or without. `folder`: see `Storm`."""
    calm = Weather(0, (), Wish(0, 0.0), 0, rest_s=rest_s)
    return Storm(bed, calm, tell, GUARDS[name].script, folder)


def _singles(count: int, part: Part, first: int = 0) -> tuple[Item, ...]:
    return tuple(Item(number, 0.0, "single", (part,)) for number in range(first, first + count))


def _chains(count: int, *parts: Part) -> tuple[Item, ...]:
    return tuple(Item(number, 0.0, "chain", parts) for number in range(count))


def _script(items: Sequence[Item], kind: str, target: str = "", **more: object) -> Script:
    return Script(tuple(items), Strike(0.0, kind, "", target, float(more.pop("for_s", 0.0))), **more)  # type: ignore[arg-type]


SLOTS = 4  # of bed one
PINNED = "n1"
HELD = ("held",)

GUARDS = {
    "token check": Guard(
        (
            Swap(f"{LUA}/finish.lua", "r[3] == A.claim and tonumber(r[2]) == A.attempt", "true"),
            Swap(f"{LUA}/start.lua", "r[3] ~= A.claim or tonumber(r[2]) ~= A.attempt or not held", "not held"),
            Swap(f"{LUA}/renew.lua", "r[3] == a.claim and tonumber(r[2]) == a.attempt and held", "held"),
        ),
        "one",
        _script(
            _singles(2, Part((0.5, 8.0, 0.1), (3, 0), HELD, retries=2)),
            "freeze-waiters",
            after=("start", 2),
            until=("start", 4),
        ),
        frozenset({"overlapping", "repeated"}),
        "a pool child is frozen while the agent reports its run, and wakes when the next attempt runs (2)",
    ),
    "sweep": Guard(
        (
            Swap(
                "infra_tasks/sweep.py",
                '''    """Make one turn, if no other node does; return how many runs were moved on."""\n''',
                '''    """Make no turn."""\n    return 0\n''',
            ),
        ),
        "one",
        _script(_singles(2 * SLOTS, Part((1.0,), habits=HELD, node=PINNED)), "lists-deleted", after=("start", SLOTS)),
        frozenset({"lost"}),
        "the broker's lists are deleted while runs wait (4)",
    ),
    "adoption lock": Guard(
        (
            Swap(
                "workers/minding.py",
                "        locked = one.folder.is_locked()\n",
                '        started = (one.folder.started() or {}).get("started_at", time.time())\n'
                "        locked = one.folder.is_locked() and started > _BORN_AT\n",
            ),
            Swap(
                "workers/minding.py",
                "        lock = one.folder.take_lock()\n        if lock is None:\n            return\n",
                "        lock = os.dup(2)\n",
            ),
            Swap("workers/minding.py", "BURIALS_AT_ONCE = 4\n", "BURIALS_AT_ONCE = 4\n_BORN_AT = time.time()\n"),
        ),
        "one",
        _script(_singles(SLOTS, Part((20.0, 0.1), habits=HELD)), "kill", "agent", after=("start", SLOTS)),
        frozenset({"repeated", "wrong end"}),
        "the agent is killed while commands run: the next one takes for dead what it did not see begin (1)",
    ),
    "self-stop": Guard(
        (
            Swap(
                "infra_tasks/runner/limits.py",
                '    if now >= bound.stop_at:\n        return "lease"\n',
                "",
            ),
            Swap(
                "infra_tasks/runner/limits.py",
                "min(term_at, bound.limit_at, bound.stop_at)",
                "min(term_at, bound.limit_at)",
            ),
            Swap(
                "workers/minding.py",
                '(orders.get("stop_at") or record.get("stop_at"), ordered_at)',
                "(ordered_at,)",
            ),
        ),
        "two",
        # Healed once another node has it; by then the first one has stopped it, or it runs twice.
        _script(_singles(1, Part((110.0, 0.1))), "cut-long", "cut", after=("start", 1), until=("start", 2), for_s=1.0),
        frozenset({"overlapping"}),
        "the node is cut off for longer than a lease (5)",
    ),
    "safe mode": Guard(
        (
            Swap(
                f"{LUA}/prelude.lua",
                "    if e[1] then begin_safe_mode(now) end\n    return e[1] and true or false\n",
                "    return false\n",
            ),
        ),
        "one",
        _script(
            _singles(2 * SLOTS, Part((1.0, 0.1), habits=HELD, node=PINNED)),
            "redis-rollback",
            after=("start", SLOTS),
            until=("end", 2 * SLOTS),
        ),
        frozenset({"repeated"}),
        "Redis comes back with an older copy of its files (3)",
    ),
    "settle": Guard(
        (
            Swap(f"{LUA}/sweep.lua", "    settle_again(id)\n", "    redis.call('ZREM', key('due'), id)\n"),
            Swap(f"{LUA}/waiting.lua", "    push(id, SETTLE_QUEUE, RUN)\n", ""),
        ),
        "one",
        _script(_chains(SLOTS, Part((1.0,), habits=HELD), Part((0.0,))), "kill", "children", after=("start", SLOTS)),
        frozenset({"lost"}),
        "pool children are killed while members of a canvas run (1, 8)",
    ),
    "slot check": Guard(
        (Swap(f"{LUA}/claim.lua", "redis.call('SCARD', key('node', A.node, 'live')) < A.slots", "true"),),
        "one",
        # Those that run go on for as long as a busy machine may need to start the next children.
        _script(
            (
                *_singles(SLOTS, Part((20.0,), habits=HELD, node=PINNED)),
                *_singles(SLOTS, Part((0.5,), node=PINNED), first=SLOTS),
            ),
            "kill",
            "children",
            after=("start", SLOTS),
        ),
        frozenset({"slots"}),
        "the worker's children are killed while every slot is taken (1, 8)",
    ),
}
