"""Ask git which files make a work tree: tracked ones, and untracked ones that are not ignored."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.errors import SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_GITLINK = "160000"
_TIMEOUT_S = 300
# Whoever calls us may itself be a git hook: its variables would answer for another tree. Given empty, git complains, so
# the caller's environment is passed on without them by `env -u`.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)


class Skipped(NamedTuple):
    """A path git lists whose content does not go, and why."""

    path: str
    reason: str


class Listed(NamedTuple):
    """Paths relative to the folder asked, and what was skipped."""

    paths: list[str]
    skipped: list[Skipped]


def is_work_tree(folder: Path) -> bool:
    """Say whether git answers for this folder: it lies in a work tree that does not ignore it."""
    top = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if top is None:
        return False
    # A home folder that is a repository with '*' ignored has nothing to say about a project inside it.
    return top == folder or _ask(folder, "check-ignore", "-q", ".", fine=(0, 1)).returncode == 1


def list_tree(folder: Path) -> Listed:
    """List the files of a work tree, those of initialised submodules and of repositories inside it as well.

    Raises SourceUnreadable with git's own words.
    """
    listed = Listed([], [])
    _list(folder, "", listed)
    return listed


def _list(folder: Path, prefix: str, listed: Listed) -> None:
    asked = ("ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard")
    done = _ask(folder, *asked)
    if b"could not open directory" in done.stderr:
        raise SourceUnreadable(f"{folder}: {_words(done.stderr)}; make it readable, or leave it out in .infraignore")
    known: set[str] = set()
    for record in os.fsdecode(done.stdout).split("\0"):
        path, is_link = _parse(record)
        if not path or path in known:
            continue  # a file in a merge conflict is there up to three times
        known.add(path)
        if is_link or path[-1] == "/":
            _list_inner(folder / path, prefix + path.rstrip("/"), listed, submodule=is_link)
        else:
            listed.paths.append(prefix + path)


def _parse(record: str) -> tuple[str, bool]:
    """Split `? path` and `H mode sha stage<TAB>path` (-t -s); say whether it is a submodule."""
    if record[:2] == "? ":
        return record[2:], False
    facts, _, path = record.partition("\t")
    return path, facts[2:8] == _GITLINK


def _list_inner(folder: Path, path: str, listed: Listed, *, submodule: bool) -> None:
    mark = folder / ".git"
    if not mark.exists():
        if folder.is_dir():
            listed.skipped.append(
                Skipped(path + "/", "a submodule that is not initialised: git submodule update --init")
            )
    elif not submodule and mark.is_file() and b"/worktrees/" in mark.read_bytes():
        listed.skipped.append(Skipped(path + "/", "another work tree of a repository (git worktree)"))
    else:
        _list(folder, path + "/", listed)


def ignored(folder: Path) -> Iterator[Skipped]:
    """Say what git leaves out in a work tree, folders as one, each with the rule and its file."""
    asked = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    names = _ask(folder, *asked).stdout
    if not names:
        return
    answer = _ask(folder, "check-ignore", "-z", "-v", "--stdin", fine=(0, 1), given=names).stdout.split(b"\0")
    for at in range(0, len(answer) - 3, 4):
        file, line, rule, path = map(os.fsdecode, answer[at : at + 4])
        yield Skipped(path, f"{file}:{line}: {rule}")


def _ask(
    folder: Path, *words: str, fine: Sequence[int] = (0,), given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    unset = [word for name in _FOREIGN for word in ("-u", name)]
    command = ["env", *unset, "LC_ALL=C", "git", "-C", os.fspath(folder), *words]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise SourceUnreadable(f"git {words[0]} in {folder} did not end within {_TIMEOUT_S} s") from error
    if done.returncode == 127:
        raise SourceUnreadable(f"{folder} is a git tree, and there is no git on PATH: install git")
    if done.returncode not in fine:
        raise SourceUnreadable(f"git {words[0]} in {folder} failed ({done.returncode}): {_words(done.stderr)}")
    return done


def _words(stderr: bytes) -> str:
    return " ".join(stderr.decode(errors="replace").split())
