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
    """Paths relative to the folder asked, and what was skipped. `inner`: other repositories were asked as well."""

    paths: list[str]
    skipped: list[Skipped]
    inner: list[str]


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
    return read_answer(folder, ask_for_files(folder))


def ask_for_files(folder: Path) -> bytes:
    """Return what git says of the files of a work tree: for `read_answer`, and the same for the same files."""
    done = _ask(folder, "ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard")
    if b"could not open directory" in done.stderr:
        cure = "make it readable, or shorter, or leave it out in .gitignore (.infraignore is asked after git)"
        raise SourceUnreadable(f"{folder}: {_words(done.stderr)}; {cure}")
    return done.stdout


def read_answer(folder: Path, answer: bytes) -> Listed:
    """Return the files git told of, and those of the repositories inside."""
    listed = Listed([], [], [])
    _read(folder, "", answer, listed)
    return listed


def _read(folder: Path, prefix: str, answer: bytes, listed: Listed) -> None:
    """Split `? path` and `H mode sha stage<TAB>path` (-t -s)."""
    paths: dict[str, bool] = {}
    for record in os.fsdecode(answer).split("\0"):
        if record[:2] == "? ":
            paths[record[2:]] = False
        else:  # a file in a merge conflict is there up to three times
            paths[record[record.find("\t") + 1 :]] = record[2:8] == _GITLINK
    paths.pop("", None)
    for path, is_link in paths.items():
        if is_link or path[-1] == "/":
            listed.inner.append(prefix + path)
            _list_inner(folder / path, prefix + path.rstrip("/"), listed, submodule=is_link)
        else:
            listed.paths.append(prefix + path)


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
        _read(folder, path + "/", ask_for_files(folder), listed)


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
