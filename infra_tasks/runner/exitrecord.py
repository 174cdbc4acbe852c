"""The exit record: its room on the disk is taken before the command starts, and it is written until it is there."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from infra_tasks.runner.attempt import MODE, sync_file, sync_folder, write_all

RESERVED_BYTES = 8192
ERROR_CHARACTERS = 1000
"""Longest error kept: the record must fit into its reserve."""
TRY_EVERY_S = 0.25


def reserve(folder: str) -> None:
    """Take the room of the exit record on the disk; OSError when there is none."""
    fd = os.open(f"{folder}/reserve", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        write_all(fd, bytes(RESERVED_BYTES))
    finally:
        os.close(fd)


def write_exit(folder: str, record: dict[str, Any]) -> None:
    """Bring exit.json to the disk, however long that takes; gives up only when the whole folder was deleted."""
    data = json.dumps({**record, "error": record["error"] and record["error"][:ERROR_CHARACTERS]}).encode()
    while os.path.isdir(folder):  # noqa: PTH112  no pathlib in a shim
        try:
            _write_into_reserve(folder, data)
        except OSError:
            if _is_there(folder, data):
                return  # only the disk's own cache could not be emptied: nothing more can be done about that
            time.sleep(TRY_EVERY_S)
        else:
            return


def _is_there(folder: str, data: bytes) -> bool:
    try:
        fd = os.open(f"{folder}/exit.json", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(fd, "rb") as file:
        return file.read() == data


def _write_into_reserve(folder: str, data: bytes) -> None:
    """Write over the bytes that are there already: that needs no room. Then cut, rename, and sync file and name.

    Synced after the rename, so that one commit of the disk's journal holds both: half the time. A power cut in between
    leaves no record or a damaged one, which reads as none: the attempt had not ended then.
    """
    fd = os.open(f"{folder}/reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        write_all(fd, data)
        os.ftruncate(fd, len(data))
        os.rename(f"{folder}/reserve", f"{folder}/exit.json")  # noqa: PTH104
        sync_file(fd)
    finally:
        os.close(fd)
    sync_folder(folder)
