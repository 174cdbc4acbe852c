"""Output on its way from the node that has it to whoever reads along: a letter box per reader.

    followed                set     "<run> <reader>" of everybody who asked lately
    asked:<reader>:<run>    string  what one reader asks for: attempt, and the offset it has reached in each stream
    out:<reader>:<run>      list    parcels for that reader; gone soon after it stopped asking

Every reader has a box of its own, so that readers at different places of one run do not disturb each other. A parcel
says what it continues from: the reader skips what it has, and notices a parcel that got lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.ledger.scripts import Scripts

# A reader asks again every second or two; who was silent for this long reads no more.
ASKED_FOR_S = 10
BOX_KEPT_S = 60
# Of readers that ended while no agent lived to notice.
FOLLOWED_KEPT_S = 24 * 3600
# A parcel with no data under this name says: this was all there is now.
MARK = "-"


@dataclass(frozen=True)
class Wish:
    """What one reader asks for. `offsets`: for each stream it wants, the first byte it does not have."""

    run: str
    reader: str
    attempt: int
    offsets: Mapping[str, int]


@dataclass(frozen=True)
class Parcel:
    """A piece of a stream that continues at `after`; `offset` is beyond it when bytes between were dropped.

    With `stream` = `MARK` it says that there was no more at that moment; `over`: and that there never will be.
    """

    attempt: int
    stream: str
    after: int
    offset: int
    data: bytes
    over: bool = False

    def to_text(self) -> str:
        """Return it as it lies in the box. Latin-1 gives every byte a character, so that text stays readable."""
        head = f"{self.attempt} {self.stream} {self.after} {self.offset} {int(self.over)} "
        return head + self.data.decode("latin-1")

    @classmethod
    def of(cls, text: str) -> Parcel:
        """Return the parcel `to_text` wrote."""
        attempt, stream, after, offset, over, data = text.split(" ", 5)
        return cls(int(attempt), stream, int(after), int(offset), data.encode("latin-1"), over == "1")


class Outputs:
    """The letter boxes of all readers."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    # The reader's side.

    def ask(self, wish: Wish) -> None:
        """Ask for output, or go on asking: a wish is forgotten after `ASKED_FOR_S` seconds."""
        text = json.dumps({"attempt": wish.attempt, "offsets": dict(wish.offsets)})

        def tell() -> None:
            with self._redis.pipeline() as pipe:
                pipe.set(self._key("asked", wish.reader, wish.run), text, ex=ASKED_FOR_S)
                pipe.sadd(self._key("followed"), _member(wish.run, wish.reader))
                pipe.expire(self._key("followed"), FOLLOWED_KEPT_S)
                pipe.execute()

        self._scripts.persistently(tell)

    def take(self, run_id: str, reader: str) -> list[Parcel]:
        """Empty the box. What is lost together with an answer shows as a parcel that continues from further on."""
        box = self._key("out", reader, run_id)

        def empty() -> list[str]:
            with self._redis.pipeline() as pipe:
                pipe.lrange(box, 0, -1)
                pipe.delete(box)
                texts: list[str] = pipe.execute()[0]
                return texts

        return [Parcel.of(text) for text in self._scripts.persistently(empty)]

    def leave(self, run_id: str, reader: str) -> None:
        """Stop asking, and drop the box."""

        def drop() -> None:
            with self._redis.pipeline() as pipe:
                pipe.srem(self._key("followed"), _member(run_id, reader))
                pipe.delete(self._key("asked", reader, run_id), self._key("out", reader, run_id))
                pipe.execute()

        self._scripts.persistently(drop, patience_s=1)

    # The node's side: an agent must not wait long for any of this.

    def wishes(self, patience_s: float = 1.0) -> list[Wish]:
        """Return what is asked for of any run, by anybody."""
        ask = self._scripts.persistently
        members = ask(lambda: sorted(self._redis.smembers(self._key("followed"))), patience_s)
        if not members:
            return []
        keys = [self._key("asked", *reversed(member.split(" "))) for member in members]
        texts = ask(lambda: self._redis.mget(keys), patience_s)
        ended = [member for member, text in zip(members, texts, strict=True) if text is None]
        if ended:
            ask(lambda: self._redis.srem(self._key("followed"), *ended), patience_s)
        return [_wish(member, text) for member, text in zip(members, texts, strict=True) if text is not None]

    def put(self, run_id: str, reader: str, parcels: Sequence[Parcel], patience_s: float = 1.0) -> None:
        """Put parcels into a reader's box. Repeated after a lost answer they lie there twice; the reader skips them."""
        box = self._key("out", reader, run_id)

        def push() -> None:
            with self._redis.pipeline() as pipe:
                pipe.rpush(box, *(parcel.to_text() for parcel in parcels))
                pipe.expire(box, BOX_KEPT_S)
                pipe.execute()

        self._scripts.persistently(push, patience_s)


def _member(run_id: str, reader: str) -> str:
    return f"{run_id} {reader}"


def _wish(member: str, text: str) -> Wish:
    run_id, reader = member.split(" ")
    said = json.loads(text)
    return Wish(run_id, reader, int(said["attempt"]), {name: int(at) for name, at in said["offsets"].items()})
