"""How a project's release is made ready for a run: the rules that travel with the run to whichever node takes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra_tasks.model.fleet import Project


@dataclass(frozen=True)
class SetupRules:
    """`setup` runs once per release and node, for at most `setup_timeout_s`; `private`: each run has its own copy."""

    setup: str | tuple[str, ...] | None = None
    setup_timeout_s: float = 0.0
    private: bool = False

    @classmethod
    def of(cls, project: Project | None) -> SetupRules:
        """Return what nodes.json says of a project; nothing is to be done for one it does not know."""
        if project is None:
            return cls()
        return cls(project.setup, project.setup_timeout_s, project.private)

    def to_json(self) -> str:
        """Return them as the record of a run keeps them."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SetupRules:
        """Read what `to_json` wrote; what a newer version added is passed over."""
        said = json.loads(text)
        setup = said.get("setup")
        return cls(
            tuple(setup) if isinstance(setup, list) else setup,
            float(said.get("setup_timeout_s") or 0.0),
            bool(said.get("private")),
        )

    @classmethod
    def of_run(cls, recorded: str | None, project: Project | None) -> SetupRules:
        """Return the rules of a run: as recorded at its dispatch, else (an older record) as this node's file says."""
        return cls.from_json(recorded) if recorded else cls.of(project)

    def asked(self, *, private: bool | None) -> SetupRules:
        """Return the rules with what a spec asks for; None leaves it to the project."""
        return self if private is None else replace(self, private=private)
