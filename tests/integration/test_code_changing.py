"""A source that is edited, taken away or closed while its release goes to another node over ssh."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rsync_on_path import REAL
from yard import REPOSITORY

from infra_tasks.errors import SourceChanging, SourceUnreadable


def test_a_file_edited_after_the_snapshot_is_noticed_and_a_new_snapshot_goes_through(far, yard, rsync):
    taken = yard.snapshot()
    rsync.does(f"printf eno > {yard.code}/a", once=True)
    with pytest.raises(SourceChanging, match=r"'a'.*edited while it was sent"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    after = yard.snapshot()
    assert far.push(after).brought.files == 4
    assert (far.tree(after) / "a").read_text() == "eno"


def test_a_file_edited_while_its_bytes_go_is_noticed(far, yard, rsync):
    place = yard.put("big", os.urandom(4_000_000))
    taken = yard.snapshot()
    late = f"{{ while ! ls {far.shelf}/.building-*/.big.* >/dev/null 2>&1; do :; done; "
    late += f"printf x | dd of={place} bs=1 seek=3999999 conv=notrunc 2>/dev/null; }} &"
    rsync.does(late, real=f"{REAL} --bwlimit=500")
    with pytest.raises(SourceChanging, match="'big'"):
        far.push(taken)
    assert far.trees() == far.half_built() == []


@pytest.mark.parametrize(
    "then", ["rm {}/a", "rm -r {}/sub", "mv {}/sub/b {}/b2", "rm {0}/a; mkdir {0}/a", "rm {0}/a; ln -s b {0}/a"]
)
def test_a_file_that_is_gone_when_it_should_go_is_noticed(far, yard, rsync, then):
    taken = yard.snapshot()
    rsync.does(then.format(yard.code, yard.code), once=True)
    with pytest.raises(SourceChanging):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    assert far.push().brought


@pytest.mark.parametrize("late", [False, True], ids=["before", "while it goes"])
def test_a_source_that_vanished_is_said(far, yard, rsync, tmp_path, late):
    taken = yard.snapshot()
    if late:
        rsync.does(f"mv {yard.code} {tmp_path}/elsewhere", once=True)
    else:
        yard.code.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceUnreadable, match=r"not there any more|went away"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    (tmp_path / "elsewhere").rename(yard.code)
    assert far.push(taken).brought


def refused_by_a_snapshot(yard, prefix):
    """Return the kind of error of a snapshot that is taken in a process of its own, and the first word it says."""
    code = f"""if True:
        from pathlib import Path
        from yard import Yard
        try:
            Yard(Path({str(yard.root)!r})).snapshot()
        except Exception as error:
            print(f"{{type(error).__name__}}: {{str(error).split()[0]}}", end="")
    """
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    command = [*prefix, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_a_file_that_may_not_be_read_is_said_by_name(far, yard, rsync):
    taken = yard.snapshot()
    (yard.code / "a").chmod(0)
    # Root may read everything, until the capability to do so is taken away.
    bare = "setpriv --bounding-set=-dac_override,-dac_read_search " if os.geteuid() == 0 else ""
    rsync.does(real=f"{bare}{REAL}")
    with pytest.raises(SourceUnreadable, match=r"/a.*Permission denied"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    assert refused_by_a_snapshot(yard, bare.split()) == "SourceUnreadable: 'a'"
    (yard.code / "a").chmod(0o644)
    rsync.does()
    assert far.push().brought
