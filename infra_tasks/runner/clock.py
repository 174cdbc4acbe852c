"""The clock that counts machine sleep, and who a process is: its pid and when it started."""

from __future__ import annotations

import os
import sys
import time

KINFO_PROC_BYTES = 648
"""Size of `struct kinfo_proc` on 64-bit macOS (sys/sysctl.h)."""

_SYSCTL_KERN, _SYSCTL_PROC, _SYSCTL_PROC_PID = 1, 14, 1
_STARTTIME_FIELD = 19
"""Field 22 of /proc/PID/stat (proc_pid_stat(5)), counted behind the name in brackets."""

if sys.platform == "darwin":
    import ctypes

    _CLOCK = time.CLOCK_MONOTONIC
else:
    _CLOCK = time.CLOCK_BOOTTIME

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_known_boot_id = ""


def boot_clock() -> float:
    """Return seconds since boot, sleep of the machine included.

    `CLOCK_MONOTONIC` stands still during sleep on Linux but not on macOS (clock_gettime(3) there).
    """
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """Return what names this boot of the machine; another one proves that every older process is gone."""
    global _known_boot_id  # noqa: PLW0603  it cannot change while we live
    if not _known_boot_id:
        _known_boot_id = _read_boot_id()
    return _known_boot_id


def process_started(pid: int) -> float | None:
    """Return the start time of a process in seconds (an identity, not a moment), None when there is no such process."""
    if sys.platform == "darwin":
        return _started_by_sysctl(pid)
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        stat = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    return int(stat[stat.rindex(b")") + 2 :].split()[_STARTTIME_FIELD]) / _TICKS_PER_S


if sys.platform == "darwin":

    def _read_boot_id() -> str:
        libc = ctypes.CDLL(None)
        answer, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        if libc.sysctlbyname(b"kern.bootsessionuuid", answer, ctypes.byref(size), None, 0) != 0:
            raise OSError("the kernel does not name its boot: sysctl kern.bootsessionuuid failed")
        return answer.value.decode()

    def _started_by_sysctl(pid: int) -> float | None:
        """Read `p_starttime`, the first field (two longs) of `struct kinfo_proc`."""
        libc = ctypes.CDLL(None)
        asked = (ctypes.c_int * 4)(_SYSCTL_KERN, _SYSCTL_PROC, _SYSCTL_PROC_PID, pid)
        answer, size = ctypes.create_string_buffer(KINFO_PROC_BYTES), ctypes.c_size_t(KINFO_PROC_BYTES)
        if libc.sysctl(asked, 4, answer, ctypes.byref(size), None, 0) != 0 or size.value == 0:
            return None
        seconds = int.from_bytes(answer.raw[0:8], sys.byteorder)
        return seconds + int.from_bytes(answer.raw[8:12], sys.byteorder) / 1_000_000

else:

    def _read_boot_id() -> str:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123  no pathlib in a shim
            return file.read().strip()
