"""Three whole nodes, each in a network of its own, and one Redis beside them: links are cut, clocks turned."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from network import Network, why_not
from three_nodes import NAMES, ThreeNodes
from turned_clock import TurnedClock
from turned_clock import why_not as why_no_clock

from chaos.beds import ours
from chaos.beds.door import LEASE
from chaos.beds.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REDIS = "redis"
REDIS_BACK_WITHIN_S = 0.5


class ThreeInNetwork(Fleet):
    """A bed (see `chaos.beds.bed`). Who hands in is this machine, where Redis is: no cut is between those two."""

    nodes: tuple[str, ...] = NAMES
    why_not = staticmethod(why_not)

    def __init__(self, folder: Path, *, slots: int = 3, code: Path | None = None, clocks: bool | None = None) -> None:
        """`clocks`: the wall clocks of nodes and of Redis can be turned (`turn`); wherever that can be, if not said."""
        self.folder = folder
        self.slots = slots
        self.sources = ours.make_sources(folder)
        turning = not why_no_clock() if clocks is None else clocks
        names = (*self.nodes, REDIS) if turning else ()
        self._clocks = {name: TurnedClock(folder / f"clock-{name}") for name in names}
        self._network = Network(*self.nodes)
        env = {name: clock.env for name, clock in self._clocks.items()}
        more: dict[str, Any] = {"code": code} if code else {}
        self.fleet = ThreeNodes(
            folder, names=self.nodes, network=self._network, slots=slots, limits=LEASE, env=env, **more
        )
        self.members = self.fleet.nodes
        self.asleep: set[str] = set()
        self._cuts = {name: Counter[str]() for name in self.nodes}
        self._over = threading.Event()
        self._keeping = threading.Lock()
        self._keeper = threading.Thread(target=self._keep_redis, daemon=True)

    def up(self) -> None:
        self.fleet.projects.update(
            {name: {"node": self.nodes[0], "source": str(at)} for name, at in self.sources.items()}
        )
        self.fleet.up()
        self._keeper.start()

    def close(self) -> None:
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self.fleet.close()
        self._network.close()

    def _keep_redis(self) -> None:
        """Be the service of Redis: what ends is started again."""
        while not self._over.wait(REDIS_BACK_WITHIN_S):
            process = self.fleet.redis.process
            with self._keeping:
                if process and process.poll() is not None:
                    self.fleet.redis.launch()

    def redis_files(self) -> Path:
        return self.fleet.redis.folder

    def redis_stays_down(self) -> threading.Lock:
        return self._keeping

    def env(self) -> Mapping[str, str]:
        """Return that of the first node, but with the true clock: it is this machine that hands in."""
        turned = self._clocks[self.nodes[0]].env if self._clocks else {}
        return {name: value for name, value in super().env().items() if name not in turned}

    def pids(self, part: str, node: str) -> list[int]:
        if part == REDIS:
            process = self.fleet.redis.process
            return [process.pid] if process and process.poll() is None else []
        return super().pids(part, node)

    def all_pids(self, node: str) -> list[int]:
        """Return every process of a node: its roles, its sshd, its commands and all they started."""
        return self._network.pids(node)

    def cut(self, node: str, how: str) -> Callable[[], None]:
        """Cut a node off (`how`: cut, deafen, mute); return what heals that, while others may cut it still."""
        if not self._cuts[node][how]:
            getattr(self._network, how)(node)
        self._cuts[node][how] += 1
        return lambda: self._heal(node, how)

    def _heal(self, node: str, how: str) -> None:
        self._cuts[node][how] -= 1
        self._network.heal(node)
        for still, count in self._cuts[node].items():
            if count:
                getattr(self._network, still)(node)

    def turn(self, whose: str, by_s: int) -> None:
        """Turn the wall clock of a node, or of `redis`."""
        self._clocks[whose].turn(by_s)

    def logs(self) -> str:
        return self.fleet.logs()


class TwoInNetwork(ThreeInNetwork):
    """The smallest fleet in which another node can take what a node that is away had."""

    nodes = NAMES[:2]
