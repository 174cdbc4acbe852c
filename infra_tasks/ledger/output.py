"""Output on its way from the node that has it to whoever reads along: a letter box per reader.

    followed                set     "<run> <reader>" of everybody who asked lately
    asked:<reader>:<run>    string  what one reader asks for: attempt, and the offset it has reached in each stream
    out:<reader>:<run>      list    parcels for that reader; gone soon after it stopped asking
    begun:<place>:<run>     string  where a reader of last lines begins in each stream, as the node settled it once

Every reader has a box of its own, so that readers at different places of one run do not disturb each other. A parcel
says what it continues from: the reader skips what it has, and notices a parcel that got lost.

Who wants the last lines, or what was written after a moment, asks with a `begin` in place of offsets. Where that is
only the node that has the disk can say. It settles it once, whatever boxes, connections and agents come after: what is
written between the first answer and the one that arrives is not passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.model.begin import Begin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.ledger.scripts import Scripts

# A reader asks again every second or two; who was silent for this long reads no more.
ASKED_FOR_S = 10
BOX_KEPT_S = 60
# Of readers that ended while no agent lived to notice.
FOLLOWED_KEPT_S = 24 * 3600
BEGUN_KEPT_S = 24 * 3600
# A parcel under this name says: up to these offsets, this was all there is now.
MARK = "-"
# A parcel under this name says where the reader begins in each stream.
BEGUN = "^"


@dataclass(frozen=True)
class Wish:
    """What one reader asks for. `offsets`: for each stream it wants, the first byte it does not have.

    `begin`: it does not know yet where to begin, and the offsets only name the streams. `place` stays the same for one
    reader of one attempt, whatever box it has.
    """

    run: str
    reader: str
    attempt: int
    offsets: Mapping[str, int]
    begin: Begin | None = None
    place: str = ""


@dataclass(frozen=True)
class Parcel:
    """A piece of a stream that continues at `after`; `offset` is beyond it when bytes between were dropped.

    With `stream` = `MARK` it says that there was no more at that moment; `over`: and that there never will be. With
    `stream` = `BEGUN` it says where to begin. Both have offsets as their data.
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
        said = {"attempt": wish.attempt, "offsets": dict(wish.offsets), "place": wish.place}
        text = json.dumps({**said, "begin": wish.begin.as_dict()} if wish.begin else said)

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

    def leave(self, run_id: str, reader: str, place: str = "") -> None:
        """Stop asking, and drop the box. `place`: there will be no other one either."""

        def drop() -> None:
            with self._redis.pipeline() as pipe:
                pipe.srem(self._key("followed"), _member(run_id, reader))
                pipe.delete(self._key("asked", reader, run_id), self._key("out", reader, run_id))
                if place:
                    pipe.delete(self._key("begun", place, run_id))
                pipe.execute()

        self._scripts.persistently(drop, patience_s=1)

    # The node's side: an agent must not wait long for any of this.

    def wishes(self, patience_s: float = 1.0) -> list[Wish]:
        """Return what is asked for of any run, by anybody; what cannot be understood is left out."""
        ask = self._scripts.persistently
        members = ask(lambda: sorted(self._redis.smembers(self._key("followed"))), patience_s)
        if not members:
            return []
        keys = [self._key("asked", *reversed(member.split(" "))) for member in members]
        texts = ask(lambda: self._redis.mget(keys), patience_s)
        ended = [member for member, text in zip(members, texts, strict=True) if text is None]
        if ended:
            ask(lambda: self._redis.srem(self._key("followed"), *ended), patience_s)
        found = [_wish(member, text) for member, text in zip(members, texts, strict=True) if text is not None]
        return [wish for wish in found if wish is not None]

    def settle(self, wish: Wish, offsets: Mapping[str, int], patience_s: float = 1.0) -> dict[str, int]:
        """Settle where a reader begins; return what was settled before, if it was."""
        key, text = self._key("begun", wish.place, wish.run), json.dumps(dict(offsets))

        def settle() -> str:
            with self._redis.pipeline() as pipe:
                pipe.set(key, text, nx=True, ex=BEGUN_KEPT_S)
                pipe.get(key)
                said: str = pipe.execute()[1]
                return said

        return _offsets(json.loads(self._scripts.persistently(settle, patience_s)))

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


def _wish(member: str, text: str) -> Wish | None:
    """Return a wish, None if it cannot be understood: one reader must not keep agents from all they have to do."""
    try:
        run_id, reader = member.split(" ")
        said = json.loads(text)
        begin = Begin.of(said["begin"]) if "begin" in said else None
        return Wish(run_id, reader, int(said["attempt"]), _offsets(said["offsets"]), begin, said["place"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def parcel_of_offsets(attempt: int, stream: str, offsets: Mapping[str, int], *, over: bool = False) -> Parcel:
    """Return a `MARK` or a `BEGUN`."""
    return Parcel(attempt, stream, 0, 0, json.dumps(dict(offsets)).encode(), over)


def offsets_in(parcel: Parcel) -> dict[str, int]:
    """Return the offsets of a `MARK` or a `BEGUN`."""
    return _offsets(json.loads(parcel.data))


def _offsets(said: Mapping[str, object]) -> dict[str, int]:
    return {name: int(str(at)) for name, at in said.items()}
