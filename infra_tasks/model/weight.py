"""How much a project weighs, and where it is heavy: who sends more than is usually meant wants to know which folder."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.model.amounts import bytes_in_words, files_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra_tasks.model.manifest import Entry

# More than this is rarely meant: somebody forgot to leave data or build results out.
MANY_FILES = 10_000
MANY_BYTES = 1_000_000_000
SHOWN_FOLDERS = 3
# A folder below this part of the whole is no explanation; one above the other part of its parent explains it better.
WORTH_NAMING = 0.05
MOST_OF_IT = 0.9


class Weight(NamedTuple):
    """Files (and links) and the bytes in them."""

    files: int
    size_bytes: int

    @property
    def is_heavy(self) -> bool:
        """Say whether this is more than is usually meant."""
        return self.files > MANY_FILES or self.size_bytes > MANY_BYTES


def heavy_words(weight: Weight, project: str, node: str) -> str:
    """Return what to tell a person before so much goes to a node; nothing when it is not more than is usually meant."""
    if not weight.is_heavy:
        return ""
    return (
        f"{files_in_words(weight.files)}, {bytes_in_words(weight.size_bytes)} of {project} go to {node}, which is a "
        f"lot: `infra sync {project} --dry-run` tells what could be left out"
    )


class Folder(NamedTuple):
    """A folder ("/" at its end) and the weight of all that lies below it."""

    path: str
    weight: Weight


def weight_of(entries: Iterable[Entry]) -> Weight:
    """Return the weight of entries."""
    sizes = [entry.size for entry in entries]
    return Weight(len(sizes), sum(sizes))


def largest_folders(entries: Sequence[Entry]) -> list[Folder]:
    """Return the few folders that explain the weight, heaviest first; none that says no more than one inside it."""
    whole = weight_of(entries)
    folders = _weighed(entries)
    inside: dict[str, list[Folder]] = defaultdict(list)
    for folder in folders:
        inside[folder.path[:-1].rpartition("/")[0]].append(folder)
    found = [_deepest(folder, inside) for folder in inside[""]]
    found = [folder for folder in found if _part(folder.weight, whole) >= WORTH_NAMING]
    return sorted(found, key=lambda folder: (-_part(folder.weight, whole), folder.path))[:SHOWN_FOLDERS]


def _deepest(folder: Folder, inside: dict[str, list[Folder]]) -> Folder:
    while True:
        heirs = [each for each in inside[folder.path[:-1]] if _is_most(each.weight, folder.weight)]
        if not heirs:
            return folder
        folder = heirs[0]


def _is_most(part: Weight, whole: Weight) -> bool:
    return part.files >= MOST_OF_IT * whole.files and part.size_bytes >= MOST_OF_IT * whole.size_bytes


def _part(weight: Weight, whole: Weight) -> float:
    return max(weight.files / max(1, whole.files), weight.size_bytes / max(1, whole.size_bytes))


def _weighed(entries: Iterable[Entry]) -> list[Folder]:
    """Return every folder with its weight, by path."""
    files: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for entry in entries:
        at = entry.path.rfind("/")
        while at > 0:
            files[entry.path[:at]] += 1
            sizes[entry.path[:at]] += entry.size
            at = entry.path.rfind("/", 0, at)
    return [Folder(f"{path}/", Weight(files[path], sizes[path])) for path in sorted(files)]
