"""Patterns of files: which paths they mean, and where a walk need not go."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.model.patterns import Patterns


def means(pattern: str, path: str) -> bool:
    patterns = Patterns([pattern])
    places = patterns.begin()
    for name in path.split("/"):
        places = patterns.step(places, name)
    return patterns.meant(places) == [0]


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("out//a.txt", "out/a.txt"),
        ("*.txt", "a.txt"),
        ("*", ".hidden"),
        ("?.t[xy]t", "a.tyt"),
        ("[!a].txt", "b.txt"),
        ("out/*.txt", "out/a.txt"),
        ("**/a.txt", "a.txt"),
        ("**/a.txt", "x/y/z/a.txt"),
        ("out/**/a.txt", "out/a.txt"),
        ("out/**/a.txt", "out/x/y/a.txt"),
        ("out/**", "out/x/y"),
        ("**", "x/y"),
        ("**", "x"),
        ("**/**", "x/y"),
        (".", "x/y"),
        ("out", "out/x/y"),
        ("out/", "out/x/y"),
        ("o*t", "out/x"),
        ("**/out", "a/out/x"),
        ("a[1].txt", "a[1].txt"),
        ("a[1].txt", "a1.txt"),
        ("*.txt", "two\nlines.txt"),
        ("**.txt", "a.txt"),
        ("-rf *", "-rf *"),
        ("*", "\udcff\udcfe"),
        ("ü.txt", unicodedata.normalize("NFD", "ü.txt")),
        (unicodedata.normalize("NFD", "ü?"), "üx"),
    ],
)
def test_a_pattern_means(pattern: str, path: str) -> None:
    assert means(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a.txt", "A.txt"),
        ("a.txt", "b/a.txt"),
        ("*.txt", "b/a.txt"),
        ("out/*", "out2/a"),
        ("out/**", "out"),  # a file of that name is no folder
        ("out/", "out"),
        ("out/*.txt", "out/x/a.txt"),
        ("**/a.txt", "x/a.txt.bak"),
        ("*.txt", "a.txt\n"),
        ("a.b", "axb"),
        ("[!a].txt", "a.txt"),
    ],
)
def test_a_pattern_does_not_mean(pattern: str, path: str) -> None:
    assert not means(pattern, path)


def test_a_walk_goes_only_where_a_pattern_leads() -> None:
    patterns = Patterns(["out/*/x", "log.txt"])
    leads = {name: patterns.lead_on(patterns.step(patterns.begin(), name)) for name in ("out", "log.txt", ".venv")}
    assert leads == {"out": True, "log.txt": True, ".venv": False}
    assert Patterns(["**/x"]).lead_on(Patterns(["**/x"]).step(Patterns(["**/x"]).begin(), ".venv"))


def test_each_pattern_is_told_from_the_others() -> None:
    patterns = Patterns(["*.a", "x.*", "y"])
    assert patterns.meant(patterns.step(patterns.begin(), "x.a")) == [0, 1]


def test_a_pattern_made_to_take_long_does_not() -> None:
    assert not means("*a" * 200, "a" * 199 + "b")
    assert not means("/".join(["**"] * 300 + ["x"]), "/".join("a" * 100))


def test_folders_said_many_times_over_are_followed_once() -> None:
    assert Patterns(["**/" * 300 + "x"]).begin() == Patterns(["**/x"]).begin()
    assert means("**/**", "a/b")
    assert means("a/**/**/b", "a/b")


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in {".", "..", "**"}
)


@given(st.lists(names, min_size=1, max_size=4))
def test_a_path_that_is_written_out_means_itself_whatever_it_holds(path: list[str]) -> None:
    assert means("/".join(path), "/".join(path))
    assert means("**/" + path[-1], "/".join(path))
