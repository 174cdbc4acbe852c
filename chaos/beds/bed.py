"""What a storm wants of a bed, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import redis

    from chaos.notes import End


class Bed(Protocol):
    """A system under test with all its processes, on this machine."""

    folder: Path
    nodes: tuple[str, ...]
    slots: int
    parts: tuple[str, ...]
    """What its processes are called."""
    sources: Mapping[str, Path]
    """Its projects: name, and where their source is."""
    door: str
    """The module that hands an item in there (see `chaos.hand_in`)."""

    dispatches: str
    """The queue that a run of a project goes through first, before that of its node; "" where there is none."""
    ticked: tuple[str, ...]
    """The queues that no run is taken from."""

    def up(self) -> None:
        """Start everything and wait until it takes runs."""

    def close(self) -> None:
        """End everything, whatever state it is in."""

    def env(self) -> Mapping[str, str]:
        """Return the environment of whoever hands in."""

    def pids(self, part: str, node: str) -> list[int]:
        """Return the living processes of a part of a node (`everything`: all of them but the commands)."""

    def attempts(self, node: str) -> list[tuple[str, int]]:
        """Return the attempts that are alive on a node now: run, number."""

    def restart(self, node: str) -> None:
        """Start a node whose watcher is dead, as its service would."""

    def stop(self, node: str) -> None:
        """Stop a node in order; its commands go on."""

    def upgrade(self, node: str) -> None:
        """Start a stopped node with another version of the product, the files of the old one gone."""

    def cancel(self, runs: Iterable[str]) -> None:
        """Ask that runs stop; what does not get through is not asked."""

    def home(self, node: str) -> Path:
        """Return the folder of a node: `runs` and, on one that has it, `redis` are in it."""

    def redis_files(self) -> Path:
        """Return the folder in which its Redis keeps what it knows."""

    def redis_stays_down(self) -> AbstractContextManager[None]:
        """Have nobody start a Redis that ends meanwhile."""

    def redis(self) -> redis.Redis:
        """Return a client of its Redis."""

    def tick(self, queue: str) -> Callable[[], bool]:
        """Send a tick to one of these; return what says if it was taken. Both raise while Redis does not answer."""

    def ends(self, runs: Iterable[str]) -> dict[str, End | None]:
        """Return the final states; None: not final, or unknown. Raises while Redis does not answer."""

    def states(self, runs: Iterable[str]) -> dict[str, str]:
        """Return what the system says of runs, final or not."""

    def unfinished(self) -> list[str]:
        """Return what is still to be done after the last end: continuations, what safe mode waits for."""

    def living(self) -> list[str]:
        """Return every process of a run that is alive, in words."""

    def audit(self) -> list[str]:
        """Return what the system itself finds wrong with itself."""

    def logs(self) -> str:
        """Return the last lines of its logs."""
