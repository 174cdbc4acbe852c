"""Lines of our own logs, with passwords and logins of URLs masked: for every logger of a process at once."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from infra_tasks.model.redactor import Redactor, without_logins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType


class MaskedRecords:
    """Makes the records of this process; those that would tell a password are changed before any handler has them."""

    def __init__(self, make: Callable[..., logging.LogRecord], redactor: Redactor) -> None:
        self.make = make
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def __call__(self, *args: Any, **more: Any) -> logging.LogRecord:
        """Make a record."""
        record = self.make(*args, **more)
        with suppress(Exception):  # arguments that do not fit: the handler tells, as it always does
            self._mask(record)
        return record

    def clean(self, text: str) -> str:
        """Return a text as it may stand in a log."""
        return without_logins(self._redactor.text(text))

    def _mask(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        told = self.clean(said)
        if told != said:
            record.msg, record.args = told, None
        if record.exc_info:
            trace = self._formatter.formatException(record.exc_info)
            told = self.clean(trace)
            if told != trace:
                record.exc_text = told


def mask_logs(passwords: Iterable[str]) -> None:
    """Mask these, and logins of URLs, in all that this process logs from now on, and in the traceback of its end."""
    before = logging.getLogRecordFactory()
    make = before.make if isinstance(before, MaskedRecords) else before
    records = MaskedRecords(make, Redactor(passwords))
    logging.setLogRecordFactory(records)
    sys.excepthook = _Masked(records.clean)


class _Masked:
    """Prints the traceback that ends this process."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(self._clean("".join(traceback.format_exception(kind, error, trace))))
