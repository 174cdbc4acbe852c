"""Files of another node's folder come here: over ssh, or, for a second node on this machine, from disk to disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from infra_tasks.releases.copying import clone
from infra_tasks.releases.remote import rsync
from infra_tasks.releases.remote.lines import lines_of
from infra_tasks.releases.remote.peer import peer_of
from infra_tasks.releases.remote.rsync import Carry
from infra_tasks.releases.trouble import said_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home


def fetch_files(
    home: Home, fleet: Fleet, node: str, folder: str, paths: Sequence[str], into: Path, size_bytes: int = 0
) -> None:
    """Bring plain files below a folder of a node's root into a folder here, which is there. Nothing is checked.

    Raises BadFleet for an unknown node, ReleaseError and its kinds.
    """
    known = fleet.nodes.get(node)
    if known is not None and known.is_local:
        _copy(Path(known.root).expanduser() / folder, paths, into)
        return
    peer, lines = peer_of(fleet, node), lines_of(home)
    with lines.to(peer) as line:  # the right node answers there, and says where its folder is
        carry = Carry(peer, into, f"{line.hello['root']}/{folder}", paths, size_bytes)
    rsync.run(rsync.pull_line(carry, lines.files.client_config()), carry)


def _copy(there: Path, paths: Sequence[str], into: Path) -> None:
    with said_of("files of another node on this machine cannot be brought", into):
        for path in paths:
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            mode = _mode(there / path)
            if not clone(os.fspath(there / path), os.fspath(target), mode):
                copyfile(there / path, target, follow_symlinks=False)
                target.chmod(mode)


def _mode(path: Path) -> int:
    """Return the mode of a copy: what may be run may be run here as well, and its owner may replace it."""
    return stat.S_IMODE(path.lstat().st_mode) & 0o777 | 0o600
