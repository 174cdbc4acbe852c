"""A thread of its own beside an event loop: the loop is never held up, and who is cancelled leaves at once.

The threads are daemons and not those of the loop's executor: one that hangs in a call to a dead Redis (until that times
out) delays neither the end of the loop nor that of the program. What is to be tidied up is tidied up in the thread.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

THREAD_NAME = "infra_tasks-aside"
# So many items are brought before somebody reads them.
AHEAD = 1000

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Raised:
    error: BaseException


class _Over:
    """Nothing comes any more."""


class Stream(Generic[Item]):
    """The items of a generator that is made, read and closed in a thread; its maker is given the event of `leave`."""

    def __init__(self, make: Callable[[Event], Generator[Item]]) -> None:
        self._make, self._left, self._room = make, Event(), Semaphore(AHEAD)
        self._loop = asyncio.get_running_loop()
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        Thread(target=copy_context().run, args=(self._work,), name=THREAD_NAME, daemon=True).start()

    def __aiter__(self) -> Stream[Item]:
        return self

    async def __anext__(self) -> Item:
        """Return the next item. Raises what reading raised in the thread."""
        come = await self._come.get()
        self._room.release()
        if isinstance(come, _Raised):
            raise come.error
        if isinstance(come, _Over):
            raise StopAsyncIteration
        item: Item = come
        return item

    def leave(self) -> None:
        """Want no more; the thread ends by itself, soon."""
        self._left.set()
        self._room.release()

    def _work(self) -> None:
        try:
            with closing(self._make(self._left)) as items:
                for item in items:
                    self._room.acquire()
                    if self._left.is_set():
                        return
                    self._tell(item)
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            self._tell(_Raised(error))
        else:
            self._tell(_Over())

    def _tell(self, come: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._come.put_nowait, come)
        except RuntimeError:  # the loop is closed: nobody hears anything there
            self._left.set()


async def answer(ask: Callable[[Event], Answer]) -> Answer:
    """Return what `ask` returns in a thread; it is given the event that says that nobody waits any more."""

    def once(left: Event) -> Generator[Answer]:
        yield ask(left)

    stream = Stream(once)
    try:
        return await anext(stream)
    finally:
        stream.leave()


def see_to(do: Callable[[], object]) -> None:
    """Do something that nobody waits for but the end of the program."""
    Thread(target=do, name=THREAD_NAME, daemon=False).start()
