"""Which options an rsync command line of ours may have: those that GNU rsync 3 and Apple's openrsync both know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Missing in openrsync and in the 2.6.9 of macOS 14: --mkpath --info --iconv --fsync --secluded-args ... (FACTS 5).
KNOWN_TO_BOTH = {
    "-a", "-z", "--delete", "--link-dest", "--files-from", "--stats", "--itemize-changes", "--checksum", "--partial",
    "--ignore-times", "-e", "--rsync-path", "--from0",
}  # fmt: skip
TAKE_A_VALUE = {"-e", "--link-dest", "--files-from", "--rsync-path"}
NEVER = {"--delete"}  # nothing is ever deleted in a tree that lives


def wrong_options(arguments: Sequence[str]) -> list[str]:
    """Return what of a command line (without `rsync` itself) is not allowed."""
    wrong, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, is_joined, _ = word.partition("=")
        if name not in KNOWN_TO_BOTH - NEVER:
            wrong.append(word)
        elif name in TAKE_A_VALUE and not is_joined:
            rest.pop(0)
    return wrong
