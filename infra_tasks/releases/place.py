"""Give one run its place to work in: the release set up and held, or a private copy of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases.ensure import ensure_release, hold
from infra_tasks.releases.private import private_copy
from infra_tasks.releases.setup import LIMIT_S, run_setup
from infra_tasks.releases.supply import LocalCarrier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from infra_tasks.releases.layout import Release, Source
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.settings import Home


class Place(NamedTuple):
    """Where a run works, the fd that keeps its release (hand it to the shim, then close it), and the release."""

    cwd: Path
    hold_fd: int
    release: Release


def take_place(
    home: Home,
    project: str,
    digest: str,
    *,
    copy_into: Path,
    source: Source | None = None,
    carrier: Carrier | None = None,
    setup: str | Sequence[str] | None = None,
    setup_timeout_s: float = LIMIT_S,
    setup_env: Mapping[str, str] | None = None,
    private: bool = False,
    wanted: Callable[[], bool] | None = None,
) -> Place:
    """Ensure, set up and hold a release; make `copy_into` a private copy if that is wanted, or the release is damaged.

    What is not `wanted` any more is not waited for, and its setup is ended. Raises ReleaseError and its kinds; nothing
    is held then.
    """
    if carrier is None and source is not None:
        carrier = LocalCarrier(source)
    release = ensure_release(home, project, digest, source=source, carrier=carrier, wanted=wanted)
    run_setup(release, setup, limit_s=setup_timeout_s, env=setup_env, carrier=carrier, wanted=wanted)
    fd = hold(release)
    try:
        own = private or release.damaged
        cwd = private_copy(release, copy_into, carrier=carrier) if own else release.path
    except BaseException:
        os.close(fd)
        raise
    return Place(cwd, fd, release)
