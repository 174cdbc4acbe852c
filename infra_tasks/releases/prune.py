"""Remove releases nobody uses, and what dead builders left."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.releases.held import in_use, projects
from infra_tasks.releases.layout import DIGEST, OPEN_FOLDER, Shelf
from infra_tasks.releases.locks import AT_ONCE, EXCLUSIVE, held
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.supply import by_last_use
from infra_tasks.releases.trouble import said_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from infra_tasks.settings import Home

# A manifest may wait for its release for as long as a dispatch may take.
NOTES_KEEP_S = 7 * 86400
# What a step that takes milliseconds leaves when it is killed.
SMALL_KEEP_S = 3600
_MARKS = (".building-", ".removing-")


def prune(
    home: Home, project: str, keep: int = 5, *, keep_also: Collection[str] = (), unused_for_s: float = 0.0
) -> list[str]:
    """Remove all but the `keep` releases used last; return the digests removed.

    Kept as well: what something runs in, the digests of `keep_also`, and what was used in the last `unused_for_s`
    seconds.
    """
    shelf = Shelf(home, project)
    removed = []
    with said_of(f"releases of {project} cannot be removed", shelf.releases):
        old = _old(shelf, keep, keep_also, unused_for_s)
        removed += [digest for digest, used_ns in old.items() if _remove(shelf, digest, used_ns)]
        sweep_leftovers(shelf)
        _drop_what_lost_its_tree(shelf)
    return removed


def prunable(
    home: Home, project: str, keep: int = 5, *, keep_also: Collection[str] = (), unused_for_s: float = 0.0
) -> list[str]:
    """Return what `prune` would remove now; nothing is changed."""
    shelf = Shelf(home, project)
    with said_of(f"releases of {project} cannot be looked at", shelf.releases):
        return [digest for digest in _old(shelf, keep, keep_also, unused_for_s) if not in_use(shelf, digest)]


def prune_node(
    home: Home,
    project: str | None,
    keep: int,
    *,
    needed: Collection[tuple[str, str]] = (),
    unused_for_s: float = 0.0,
    dry_run: bool = False,
) -> dict[str, list[str]]:
    """Prune a project, or all that are here; return what was removed (`dry_run`: would be), by project.

    `needed`: (project, digest) of what is kept whatever its age.
    """
    do = prunable if dry_run else prune
    gone = {
        name: do(home, name, keep, keep_also={digest for of, digest in needed if of == name}, unused_for_s=unused_for_s)
        for name in projects(home)
        if project in {None, name}
    }
    return {name: digests for name, digests in gone.items() if digests}


def _old(shelf: Shelf, keep: int, keep_also: Collection[str], unused_for_s: float) -> dict[str, int]:
    """Return the releases nobody needs as far as the clock and the caller know, each with its last use."""
    old = {digest: _used_ns(shelf, digest) for digest in by_last_use(shelf)[keep:] if digest not in keep_also}
    oldest_ns = time.time_ns() - int(unused_for_s * 1e9)
    return {digest: used_ns for digest, used_ns in old.items() if used_ns <= oldest_ns}


def _used_ns(shelf: Shelf, digest: str) -> int:
    with suppress(FileNotFoundError):
        return shelf.use(digest).stat().st_mtime_ns
    return 0


def _remove(shelf: Shelf, digest: str, used_ns: int) -> bool:
    """Remove a release, unless somebody is at it or has asked for it since `used_ns`."""
    with held(shelf.work(digest), EXCLUSIVE | AT_ONCE) as work:
        if work is None or _used_ns(shelf, digest) != used_ns:
            return False
        with (
            held(shelf.use(digest), EXCLUSIVE | AT_ONCE) as alone,
            held(shelf.lent(digest), EXCLUSIVE | AT_ONCE) as unlent,
        ):
            if alone is None or unlent is None:
                return False
            # First what says that the tree is right and set up: who dies after this leaves nothing that is believed.
            for path in (shelf.seen(digest), shelf.setup(digest)):
                path.unlink(missing_ok=True)
            remove_tree(shelf, shelf.removing(digest))  # of somebody who died half way
            # Out of sight at once, so that nobody finds half of it.
            shelf.tree(digest).chmod(OPEN_FOLDER)
            shelf.tree(digest).rename(shelf.removing(digest))
            remove_tree(shelf, shelf.removing(digest))
            for path in (shelf.setup_log(digest), *shelf.beside(digest)):
                path.unlink(missing_ok=True)
    return True


def sweep_leftovers(shelf: Shelf) -> None:
    """Remove what builders and prunes left that died half way: nobody holds its work lock."""
    for item in list(shelf.releases.iterdir()) if shelf.releases.is_dir() else []:
        mark = next((mark for mark in _MARKS if item.name.startswith(mark)), None)
        digest = item.name[len(mark) :].partition("-")[0] if mark else ""
        if DIGEST.fullmatch(digest):
            with held(shelf.work(digest), EXCLUSIVE | AT_ONCE) as work:
                if work is not None:
                    remove_tree(shelf, item)
        elif item.name.startswith(".") and not mark and _age_s(item) > SMALL_KEEP_S:
            remove_tree(shelf, item)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _drop_what_lost_its_tree(shelf: Shelf) -> None:
    """Remove what is kept beside trees that are not there, once nobody can be about to make them."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in shelf.releases.iterdir() if shelf.releases.is_dir() else ():
        if path.suffix and DIGEST.fullmatch(path.stem):
            found[path.stem].append(path)
    for digest, notes in found.items():
        if shelf.tree(digest).exists() or min(map(_age_s, notes)) <= NOTES_KEEP_S:
            continue
        with held(shelf.work(digest), EXCLUSIVE | AT_ONCE) as work:
            if work is not None and not shelf.tree(digest).exists():
                for beside in shelf.beside(digest):
                    beside.unlink(missing_ok=True)
