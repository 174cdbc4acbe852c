"""The code on a node: snapshot, ensure, verify, prune.

A release is an immutable copy of a project's source, named by the digest of its manifest. `ensure_release` is the
door: whatever was there before, the tree is here and right when it returns. `take_place` is all a run needs in one.
"""

from __future__ import annotations

from infra_tasks.releases.ensure import ensure_release, hold
from infra_tasks.releases.layout import Brought, Release, Source
from infra_tasks.releases.lending import lendable, lending
from infra_tasks.releases.listing import LeftOut, left_out
from infra_tasks.releases.place import Place, take_place
from infra_tasks.releases.private import private_copy
from infra_tasks.releases.prune import prunable, prune
from infra_tasks.releases.setup import run_setup
from infra_tasks.releases.snapshot import Snapshot, manifest_of, snapshot
from infra_tasks.releases.verify import verify

__all__ = [
    "Brought",
    "LeftOut",
    "Place",
    "Release",
    "Snapshot",
    "Source",
    "ensure_release",
    "hold",
    "left_out",
    "lendable",
    "lending",
    "manifest_of",
    "private_copy",
    "prunable",
    "prune",
    "run_setup",
    "snapshot",
    "take_place",
    "verify",
]
