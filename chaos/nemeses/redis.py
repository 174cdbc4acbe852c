"""Nemesis 3: Redis dies, freezes, loses its connections, has no memory left."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import redis

from chaos.nemeses.kills import hit, send
from chaos.nemeses.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

CUT_EVERY_S = 0.1
TRIES, TRY_EVERY_S = 600, 0.1


def kill(scene: Scene, strike: Strike) -> None:
    """Kill -9; its watcher starts it again."""
    hit(scene.bed.pids("redis", strike.node), signal.SIGKILL)


def freeze(scene: Scene, strike: Strike) -> Undo:
    """SIGSTOP: connections stay open and nobody answers."""
    frozen = scene.bed.pids("redis", strike.node)
    hit(frozen, signal.SIGSTOP)
    return lambda: send(frozen, signal.SIGCONT)


def cut(scene: Scene, strike: Strike) -> Undo:
    """Connections are killed again and again: all of them, or those that listen."""
    client, over = scene.bed.redis(), threading.Event()

    def go_on() -> None:
        while not over.is_set():
            with suppress(redis.RedisError):
                client.execute_command("CLIENT", "KILL", "TYPE", strike.target, "SKIPME", "yes")  # type: ignore[no-untyped-call]
            time.sleep(CUT_EVERY_S)

    cutter = threading.Thread(target=go_on, daemon=True)
    cutter.start()

    def end() -> None:
        over.set()
        cutter.join()

    return end


def starve(scene: Scene, strike: Strike) -> Undo:
    """Redis has no memory left and takes nothing new (noeviction)."""
    client = scene.bed.redis()
    client.config_set("maxmemory", max(1, int(client.info("memory")["used_memory"]) // 2))
    # Redis may be dead or frozen at its end: others are not to wait for that.
    return threading.Thread(target=_persistently, args=(lambda: client.config_set("maxmemory", 0),)).start


def _persistently(act: Callable[[], object]) -> None:
    for _ in range(TRIES):
        try:
            act()
        except redis.RedisError:
            time.sleep(TRY_EVERY_S)
        else:
            return


ALL = (
    Kind("redis-kill", 3, kill),
    Kind("redis-freeze", 3, freeze, lasts_s=(2, 20)),
    Kind("redis-out-of-memory", 3, starve, lasts_s=(1, 15)),
    Kind("redis-cut", 3, cut, targets=("normal", "pubsub"), lasts_s=(1, 4)),
)
