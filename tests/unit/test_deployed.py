"""What is told of a release that was brought to a node."""

from __future__ import annotations

from infra_tasks.deploy import Deployed
from infra_tasks.model.weight import Weight, heavy_words
from infra_tasks.releases import Brought


def brought(files, size_bytes, shared=0):
    return Deployed("mac-2", "d" * 64, "brought", Brought(files, size_bytes, shared, 0.41))


def test_files_bytes_and_seconds_are_told():
    assert brought(12, 1258291, 9988).words() == "12 files, 1.2 MiB brought to mac-2 in 0.41 s, 9,988 shared"
    assert Deployed("mac-2", "d" * 64, "held").words() == "mac-2 holds it"


def test_a_person_is_warned_of_more_than_ten_thousand_files_or_a_gigabyte_and_told_what_to_do():
    assert heavy_words(Weight(10_000, 1_000_000_000), "trainer", "mac-2") == ""
    assert "10,001 files" in heavy_words(Weight(10_001, 5), "trainer", "mac-2")
    said = heavy_words(Weight(1, 1_000_000_001), "trainer", "mac-2")
    assert "953.7 MiB of trainer go to mac-2" in said
    assert "infra sync trainer --dry-run" in said
