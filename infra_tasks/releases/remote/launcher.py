"""The program in a node's folder that callers start over ssh: a login there knows neither our Python nor our folder."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import infra_tasks
from infra_tasks import settings
from infra_tasks.releases import sidecar
from infra_tasks.releases.remote.peer import PORTER

if TYPE_CHECKING:
    from infra_tasks.settings import Home

# -P: a login begins in its home folder, where any json.py would be taken for Python's own.
_TEXT = """\
#!/bin/sh
# Written by infra_tasks whenever this node starts; other nodes call it over ssh.
export INFRA_HOME={root}
export PATH={path}
export PYTHONPATH={package}
exec {python} -P -m infra_tasks.releases.remote.porter
"""


def write_launcher(home: Home) -> None:
    """Write it, if it is not there as it should be."""
    place = home.root / PORTER
    text = _TEXT.format(
        root=shlex.quote(os.fspath(home.root)),
        path=shlex.quote(settings.inherited()["PATH"]),
        package=shlex.quote(os.fspath(Path(infra_tasks.__file__).parent.parent)),
        python=shlex.quote(sys.executable),
    ).encode()
    if sidecar.read(place) != text:
        sidecar.write(place, text)
    place.chmod(0o755)
