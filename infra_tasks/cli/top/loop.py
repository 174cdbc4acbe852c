"""The loop of `infra top`: draws, hears keys, has things done; it waits neither for the ledger nor for any thread."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from infra_tasks.cli.exit_codes import CANCELLED, DONE
from infra_tasks.cli.lookout import Lookout
from infra_tasks.cli.reading import Reading
from infra_tasks.cli.run_view import FINAL_STATES, short
from infra_tasks.cli.screen import Screen
from infra_tasks.cli.top.drawing import Scene, lines_of, log_page_of, page_of
from infra_tasks.cli.top.looking import Looking, Snapshot
from infra_tasks.cli.top.model import Act, Mode, Row, Size, View, press, settled, visible
from infra_tasks.errors import InfraError

if TYPE_CHECKING:
    from infra_tasks.settings import Home

DRAW_EVERY_S = 0.5
MESSAGE_KEPT_S = 6.0


def run_top(home: Home) -> int:
    """Show the fleet until the user leaves; return the exit code."""
    with Screen() as screen:
        return Top(home, screen).run()


class Top:
    """One user, one screen."""

    def __init__(self, home: Home, screen: Screen) -> None:
        self._home, self._screen = home, screen
        self._view = View()
        self._lookout: Lookout[Snapshot] = Lookout(home, partial(Looking, home), screen.wake)
        self._reading: Reading | None = None
        self._message, self._message_at = "", 0.0

    def run(self) -> int:
        """Draw and obey until the end."""
        self._lookout.start()
        while not self._screen.ended_by:
            self._screen.draw(lines_of(self._scene()))
            for key in self._screen.typed(DRAW_EVERY_S):
                self._view, act = press(self._view, key, self._rows(), self._size())
                if act is Act.QUIT:
                    return CANCELLED if key == "ctrl-c" else DONE
                if act:
                    self._do(act)
        return CANCELLED

    def _rows(self) -> list[Row]:
        return self._lookout.latest.seen.rows if self._lookout.latest else []

    def _scene(self) -> Scene:
        now, latest = time.monotonic(), self._lookout.latest
        columns, rows = self._screen.size
        if latest:
            self._view = settled(self._view, visible(latest.seen.rows, self._view))
        return Scene(
            self._view,
            latest.seen if latest else None,
            columns,
            rows,
            elapsed_s=now - latest.at if latest else 0.0,
            silence=self._lookout.silence(now),
            message=self._message if now - self._message_at < MESSAGE_KEPT_S else "",
            log=self._reading.lines() if self._reading else [],
            log_over=bool(self._reading and self._reading.over),
        )

    def _size(self) -> Size:
        rows = self._screen.size[1]
        if self._reading and self._view.mode is Mode.LOGS:
            return Size(log_page_of(rows), len(self._reading.lines()))
        nodes = len(self._lookout.latest.seen.nodes) if self._lookout.latest else 0
        return Size(page_of(rows, nodes))

    def _do(self, act: Act) -> None:
        if act is Act.CANCEL and self._view.asked:
            self._say(f"asking run {short(self._view.asked)} to stop...")
            threading.Thread(target=self._cancel, args=(self._view.asked,), daemon=True).start()
        elif act is Act.OPEN_LOGS and self._view.logs:
            self._reading = Reading(self._home, self._view.logs, self._screen.wake)
            self._reading.start()
        elif act is Act.CLOSE_LOGS and self._reading:
            self._reading.leave()
            self._reading = None

    def _cancel(self, run_id: str) -> None:
        from infra_tasks.ledger import open_ledger  # noqa: PLC0415

        try:
            ledger = open_ledger(self._home)
            state = ledger.runs.cancel(run_id, actor="cli")
            ledger.close()
        except InfraError as error:
            self._say(f"run {short(run_id)} was not cancelled: {' '.join(str(error).split())}")
        else:
            self._say(f"run {short(run_id)} {f'is {state}' if state in FINAL_STATES else 'was asked to stop'}")
        self._lookout.hurry()
        self._screen.wake()

    def _say(self, text: str) -> None:
        self._message, self._message_at = text, time.monotonic()
