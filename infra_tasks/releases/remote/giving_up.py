"""Ends the transfers of this process, for a user who wants no more of them."""

from __future__ import annotations

from contextlib import suppress

import psutil

WITHIN_S = 5.0


def end_transfers() -> None:
    """End every rsync this process has started: each has a session of its own, so no Ctrl-C reaches it.

    What was half sent stays at the far end, hidden, until the next try there cleans it up.
    """
    transfers = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.name() == "rsync":
                child.kill()
                transfers.append(child)
    psutil.wait_procs(transfers, timeout=WITHIN_S)
