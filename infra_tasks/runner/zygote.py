"""The small process that forks shims: everything a shim needs is loaded here once, and shared by all of them.

Run as `python -I -S zygote.py` with a socket as fd 0. A request is the path of an attempt's folder with the fds the
shim shall hold; a NUL behind the path says that the last fd is the pipe with its secrets, which only the shim reads.
The first is the status pipe: the shim writes its pid there, and its end closes it - last of all fds, after kill -9 as
well, because the kernel lets go of the lowest one last (seen on Linux 6.18). The zygote ends when the other end of the
socket closes; its shims do not care.
"""

from __future__ import annotations

import array
import gc
import os
import signal
import socket
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]  # noqa: PTH100, PTH120

from infra_tasks.runner import shim  # noqa: E402  only now it can be found
from infra_tasks.runner.clock import boot_id  # noqa: E402

REQUEST_BYTES = 65536
FDS_AT_MOST = 64


def main() -> None:
    """Fork shims until nobody can ask for one any more."""
    requests = _take_socket()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps our shims
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    boot_id()
    gc.collect()
    gc.freeze()  # a collection in a shim would touch, and so copy, every page we share
    while True:
        said, fds = _request(requests)
        if not said:
            return
        folder, offered, _ = said.partition("\0")
        secrets = [fds.pop()] if offered else []
        _fork_shim(requests, folder, fds, secrets)
        _let_go([*fds, *secrets])


def _let_go(fds: list[int]) -> None:
    """Close the status pipe last: whoever sees its end finds the lock free."""
    for fd in reversed(fds):
        os.close(fd)


def _take_socket() -> socket.socket:
    """Keep the socket, and nothing else our parent had open."""
    requests = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/dev/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) != requests.fileno():
            _close(int(name))
    return requests


def _request(requests: socket.socket) -> tuple[str, list[int]]:
    """Wait for a request; an empty folder means: the other end is closed."""
    fds = array.array("i")
    data, ancillary, _, _ = requests.recvmsg(REQUEST_BYTES, socket.CMSG_SPACE(FDS_AT_MOST * fds.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)
    return os.fsdecode(data), list(fds)


def _fork_shim(requests: socket.socket, folder: str, fds: list[int], secrets: list[int]) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        os.write(fds[0], f"cannot fork a shim: {error}\n".encode())
        return
    if pid:
        return
    try:
        requests.close()
        os.write(fds[0], b"%d\n" % os.getpid())
        shim.mind(folder, *secrets)
    except BaseException:  # noqa: BLE001  a shim that breaks must never become a second zygote
        shim.log_traceback(folder)
    finally:
        _let_go(fds[1:])
        os._exit(0)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # that of the listing itself


if __name__ == "__main__":
    main()
