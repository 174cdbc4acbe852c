"""What a project weighs, and which folders explain it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.model.manifest import PLAIN, Entry
from infra_tasks.model.weight import MANY_BYTES, MANY_FILES, Weight, largest_folders, weight_of


def entries(**sizes):
    """Make entries; `a__b=5` is `a/b` with 5 bytes."""
    return [Entry(path.replace("__", "/"), "file", PLAIN, size) for path, size in sizes.items()]


@pytest.mark.parametrize(
    ("weight", "heavy"),
    [
        (Weight(MANY_FILES, MANY_BYTES), False),
        (Weight(MANY_FILES + 1, 0), True),
        (Weight(1, MANY_BYTES + 1), True),
        (Weight(0, 0), False),
    ],
)
def test_heavy_is_more_files_or_more_bytes_than_is_usually_meant(weight, heavy):
    assert weight.is_heavy is heavy


def test_weight_is_the_sum_of_all():
    assert weight_of(entries(a=1, b__c=2)) == Weight(2, 3)
    assert weight_of([]) == Weight(0, 0)


def test_the_folder_named_is_the_one_deep_down_that_says_it_all():
    found = largest_folders(entries(src__main=10, build__out__cache__x=1000, build__out__cache__y=1000))
    assert [(folder.path, folder.weight) for folder in found] == [
        ("build/out/cache/", Weight(2, 2000)),
        ("src/", Weight(1, 10)),
    ]


def test_a_folder_whose_parts_are_alike_is_named_itself():
    found = largest_folders(entries(data__a__x=500, data__b__x=500, top=1))
    assert [folder.path for folder in found] == ["data/"]


def test_many_small_files_count_as_much_as_a_few_large_ones():
    many = {f"small__{number}": 0 for number in range(100)}
    found = largest_folders(entries(big__one=1_000_000, **many))
    assert [folder.path for folder in found] == ["big/", "small/"]


def test_what_hardly_counts_is_not_named():
    many = {f"data__{number}": 10 for number in range(100)}
    assert [folder.path for folder in largest_folders(entries(tiny__one=1, **many))] == ["data/"]


def test_without_folders_there_is_nothing_to_name():
    assert largest_folders(entries(a=1, b=2)) == []
    assert largest_folders([]) == []


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.integers(0, 1000)))
def test_no_folder_weighs_more_than_all_and_none_is_named_twice(sizes):
    made = [Entry(path, "file", PLAIN, size) for path, size in sizes.items()]
    found = largest_folders(made)
    assert len({folder.path for folder in found}) == len(found) <= 3
    for folder in found:
        below = [entry for entry in made if entry.path.startswith(folder.path)]
        assert folder.weight == weight_of(below)
