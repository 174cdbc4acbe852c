"""Many runs on their way into the ledger: told part by part, so that whatever breaks, what was accepted is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.cli.exit_codes import CANCELLED, DONE
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import note
from infra_tasks.errors import FleetUnreachable, SubmitUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra_tasks.cli.interrupts import Interrupts
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.submission import Submission


@dataclass
class HandingIn:
    """One hand-in. `tell` prints the ids of a part, from the number of its first spec on; it may fail: they count."""

    ledger: Ledger
    tell: Callable[[int, Sequence[str]], None]
    interrupts: Interrupts
    again_is_safe: bool
    skipped: int = 0
    patience_s: float = 10.0
    untold: OSError | None = None

    def of(self, many: Sequence[Submission]) -> tuple[list[str], int]:
        """Hand all in; return the ids of those accepted, and the exit code so far (130: interrupted in between).

        Raises FleetUnreachable with how to go on, IdempotencyConflict.
        """
        ids: list[str] = []
        with ProgressLine() as line:
            try:
                for part in self.ledger.runs.submit_parts(many, self.patience_s):
                    line.clear()
                    self._tell(len(ids), part)
                    ids += part
                    if self.interrupts.count and len(ids) < len(many):
                        note(f"interrupted: {self._so_far(len(ids), len(many))}. {self._how_to_go_on(len(ids))}")
                        return ids, CANCELLED
                    line.show(f"{len(ids):,} of {len(many):,} runs accepted")
            except SubmitUnknown as error:
                raise self._unreachable(error, len(ids), len(many)) from error
        return ids, DONE

    def _tell(self, first: int, part: Sequence[str]) -> None:
        """Print ids; where nobody takes them any more, the rest is handed in all the same."""
        if self.untold is None:
            try:
                self.tell(self.skipped + first + 1, part)
            except OSError as error:
                self.untold = error

    def _unreachable(self, error: SubmitUnknown, accepted: int, asked: int) -> FleetUnreachable:
        first = self.skipped + accepted + 1
        which = f"spec {first}" if error.count == 1 else f"specs {first} to {first + error.count - 1}"
        return FleetUnreachable(
            f"{str(error.__cause__ or error).splitlines()[0]}\n"
            f"{self._so_far(accepted, asked)}. Whether {which} were, too, is not known: if they were, "
            f"`infra show {error.run_id}` knows the first of them.\n{self._how_to_go_on(accepted)}"
        )

    def _so_far(self, accepted: int, asked: int) -> str:
        return f"{accepted} of {asked} runs had been accepted" + (" (their ids are printed)" if accepted else "")

    def _how_to_go_on(self, accepted: int) -> str:
        if self.again_is_safe:
            return "Do the same again: with the same --idempotency-key nothing that was accepted is started twice."
        return (
            f"Go on with --skip {self.skipped + accepted}, or more if more were accepted. "
            "With --idempotency-key PREFIX doing it all again would be safe."
        )
