"""What a command finds in its environment: what its node has, what its spec says, what we tell it, and its secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from infra_tasks import settings
from infra_tasks.secret_store.lookup import Places, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.live import Token
    from infra_tasks.model.spec import RunSpec
    from infra_tasks.node import ThisNode
    from infra_tasks.runner.attempt import Attempt


def environment(node: str, token: Token, spec: RunSpec, cookie: str, release: str, attempt: Attempt) -> dict[str, str]:
    """Return the environment of a command without its secrets: the node's, the spec's, and ours (INFRA_...)."""
    ours = {
        "INFRA_RUN": token.run,
        "INFRA_ATTEMPT": str(token.attempt),
        "INFRA_TOKEN": f"{token.attempt}:{token.claim}",
        "INFRA_NODE": node,
        "INFRA_SCRATCH": os.fspath(attempt.scratch),
        "INFRA_COOKIE": cookie,
    }
    said = {name: text for name, text in spec.env.items() if isinstance(text, str)}
    if spec.project:
        # A release is immutable: python must not try to keep compiled files beside its sources.
        ours |= {"INFRA_PROJECT": spec.project, "INFRA_RELEASE": release}
        return {**settings.inherited(), "PYTHONDONTWRITEBYTECODE": "1", **said, **ours}
    return {**settings.inherited(), **said, **ours}


def secrets_of(me: ThisNode, spec: RunSpec, goes_on: Callable[[], bool]) -> dict[str, str]:
    """Look up what the command is given by reference; anew for each attempt. Raises SecretUnavailable.

    That may take long; it ends early when the attempt no longer `goes_on`.
    """
    if not spec.secrets:
        return {}
    places = Places(me.name, me.home.secrets_json, me.node.secret_command, settings.inherited())
    return look_up(spec.secrets, places, goes_on)
