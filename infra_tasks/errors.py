"""Every error of infra_tasks.

InfraError                  a person can do something about it; the message says what
  BadInput                  wrong use: refused before anything happened (exit code 2)
    BadSpec                 a field of a spec
    BadFleet                nodes.json
    BadOption               an apply_async option we do not support
    UnknownRun              no run with that id, or not a unique beginning of one
    IdempotencyConflict     the key was used for another spec
    BadBackup               a file is no whole backup, or not one for this folder
  FleetUnreachable          Redis or a role does not answer (exit code 3)
    SubmitUnknown           connection lost in between: the run may be there; asking again with its id is safe
    SafeMode                the ledger lost writes and waits for the nodes
  StillGoing                waiting was limited, and runs are not final yet (a TimeoutError, too)
  RunFailed                 a run ended as FAILURE (raised by `.get()`)
    RunRevoked              ... as REVOKED
  ReleaseError              the code could not be brought or is not what it should be
    SourceUnreadable        a file of the project cannot be taken
    SourceChanging          the tree changed while it was read
    NamesCollide            two paths fall together on the node's disk
    ReleaseDamaged          the tree on the node is not the recorded one, and could not be mended
      NotAsSent             a file arrived with another content than was asked for
    ReleaseBusy             somebody else works on it, and waiting for that was not wanted
    SetupFailed             the project's setup command failed
    BaseLost                a node has no longer the manifest that another one was told by its difference from
    HostKeyRefused          the host key of a node is unknown, or is not the one that was accepted
    NodeUnreachable         a node cannot be reached over ssh, or does not answer there
      TransferBroken        a transfer was cut off in the middle
  LeaseLost                 the fencing token is refused: somebody else owns the run now
  AlreadyRunning            a watcher holds this root
  RoleFailed                a role does not come up
  SecretUnavailable         a secret cannot be had on this node, or the file with them is open to others
  BackupFailed              a backup could not be written, or put back; what was there before is there still
  LaunchFailed              no shim could be started; nothing runs, asking again is safe
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra_tasks.model.complaints import Complaint


class InfraError(Exception):
    """Base of all. `exit_code` is what `infra` ends with."""

    exit_code = 1


class BadInput(InfraError, ValueError):
    """Wrong use, refused before anything happened."""

    exit_code = 2


class _BadFields(BadInput):
    """`problems`: each with the path of a field, a sentence, and whether its name itself is wrong."""

    def __init__(self, message: str, problems: Sequence[Complaint] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class BadSpec(_BadFields):
    """A field of a spec is wrong; the message names the field and the nearest known word."""


class BadFleet(_BadFields):
    """nodes.json is wrong; the message names the JSON path and the nearest known word."""


class BadOption(BadInput):
    """An `apply_async` option that is not supported."""


class UnknownRun(BadInput):
    """No run has this id, or `several` begin with it."""

    def __init__(self, message: str, *, several: bool = False) -> None:
        super().__init__(message)
        self.several = several


class IdempotencyConflict(BadInput):
    """The idempotency key (or run id) was used for another spec."""


class BadBackup(BadInput):
    """A file is no whole backup, or not one for this folder: nothing was changed."""


class FleetUnreachable(InfraError):
    """Redis or a role does not answer."""

    exit_code = 3


class SubmitUnknown(FleetUnreachable):
    """The connection was lost while the run was handed over: it may be in the ledger or not.

    Submitting again with `task_id=error.run_id` is safe: the same run is meant. Of many, `count` were handed over
    together, this one first: all of them are there, or none.
    """

    def __init__(self, message: str, run_id: str = "", count: int = 1) -> None:
        super().__init__(message, run_id, count)
        self.run_id = run_id
        self.count = count

    def __str__(self) -> str:
        return str(self.args[0])


class SafeMode(FleetUnreachable):
    """The ledger lost writes and waits until every node has said what it runs."""


class StillGoing(InfraError, TimeoutError):
    """Waiting had a limit, and runs are not final yet. They go on. `ids`: which."""

    def __init__(self, message: str, ids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)


class RunFailed(InfraError):
    """A run ended as FAILURE. The message names run, node, exit code or reason and the last lines.

    `result` is the dict that `.get()` would have given: id, state, reason, exit_code, stdout_tail, ...
    """

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message, result)
        self.result = result or {}

    def __str__(self) -> str:
        return str(self.args[0])


class RunRevoked(RunFailed):
    """A run was cancelled."""


class ReleaseError(InfraError):
    """The code could not be brought, or is not what it should be."""


class SourceUnreadable(ReleaseError):
    """A file of the project cannot be read."""


class SourceChanging(ReleaseError):
    """The tree changed while it was read."""


class NamesCollide(ReleaseError):
    """Two paths of the tree fall together on the node's disk."""


class ReleaseDamaged(ReleaseError):
    """The tree on the node is not the recorded one, and could not be mended."""


class ReleaseBusy(ReleaseError):
    """Somebody builds, mends or sets the release up, and waiting for that was not wanted (any more)."""


class SetupFailed(ReleaseError):
    """The setup command of a project failed; the message carries its last lines."""


class NotAsSent(ReleaseDamaged):
    """A file arrived with another content than was asked for: it was edited meanwhile, or changed on the way."""


class BaseLost(ReleaseError):
    """A node has no longer the manifest that another one was told by its difference from: tell it whole."""


class HostKeyRefused(ReleaseError):
    """The host key of a node is unknown, or is not the one that was accepted; the message says how to accept it."""


class NodeUnreachable(ReleaseError):
    """A node cannot be reached over ssh, or does not answer there."""


class TransferBroken(NodeUnreachable):
    """A transfer was cut off in the middle."""


class LeaseLost(InfraError):
    """The fencing token is refused: somebody else owns the run now."""


class AlreadyRunning(InfraError):
    """A watcher already holds this root."""


class RoleFailed(InfraError):
    """A role does not come up; the message carries the last lines of its log."""


class SecretUnavailable(InfraError):
    """A secret cannot be had on this node; the message names it and where it was looked for, and holds no value."""


class BackupFailed(InfraError):
    """A backup could not be written, or put back. What was there before is there still; the message says what to do."""


class LaunchFailed(InfraError):
    """No shim could be started for an attempt. Nothing of it runs: asking again is safe."""
