"""What names a tree: the same for the same code, another one for anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.errors import ReleaseError
from infra_tasks.model.manifest import EXECUTABLE, PLAIN, Entry, Manifest, collisions, diff

ONE = "1" * 64
TWO = "2" * 64


def file(path, sha256=ONE, mode=PLAIN, size=3):
    return Entry(path, "file", mode, size, sha256)


def link(path, target):
    return Entry(path, "link", EXECUTABLE, len(target), "", target)


def test_the_digest_does_not_depend_on_the_order_of_the_entries():
    assert Manifest.of([file("a"), file("b/c")]).digest == Manifest.of([file("b/c"), file("a")]).digest


@pytest.mark.parametrize(
    "other",
    [
        [file("a", TWO), link("l", "a")],
        [file("A"), link("l", "a")],
        [file("a", mode=EXECUTABLE), link("l", "a")],
        [file("a"), link("l", "b")],
        [file("a")],
        [file("a"), link("l", "a"), file("z")],
    ],
)
def test_content_name_mode_and_target_each_change_the_digest(other):
    assert Manifest.of(other).digest != Manifest.of([file("a"), link("l", "a")]).digest


def test_names_that_are_no_utf8_or_hold_newlines_survive_the_round_trip():
    entries = [file("a b\n'\".txt"), file("-rf"), file(b"caf\xe9".decode("utf-8", "surrogateescape")), file("été")]
    manifest = Manifest.of(entries)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.to_json().isascii()


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
paths = st.lists(names.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(paths, st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from([PLAIN, EXECUTABLE]))))
def test_every_tree_survives_the_round_trip(tree):
    entries = [file(path, sha, mode) for path, (sha, mode) in tree.items()]
    below = {part for path in tree for part in parents(path)}
    if below & tree.keys():
        with pytest.raises(ReleaseError, match="lies below it"):
            Manifest.of(entries)
    else:
        assert Manifest.from_json(Manifest.of(entries).to_json()) == Manifest.of(entries)


def parents(path):
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", "a//b", "a/", "./a", "a/.", ".."])
def test_a_path_that_leads_out_of_the_tree_is_refused(path):
    with pytest.raises(ReleaseError, match="no path inside a tree"):
        Manifest.of([file("fine"), file(path)])


def test_dots_in_names_are_fine():
    assert Manifest.of([file(".gitignore"), file("..."), file("a/..b/c."), file("x.y")])


def test_a_file_below_a_link_is_refused_since_it_would_be_written_elsewhere():
    with pytest.raises(ReleaseError, match="'a' is a file or a link"):
        Manifest.of([link("a", "/etc"), file("a/passwd")])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "digest": "", "entries": [[1]]}'])
def test_what_is_no_manifest_is_said_to_be_none(text):
    with pytest.raises(ReleaseError, match="manifest"):
        Manifest.from_json(text)


def test_a_manifest_that_was_tampered_with_is_refused():
    raw = json.loads(Manifest.of([file("a")]).to_json())
    raw["entries"][0][4] = TWO
    with pytest.raises(ReleaseError, match="calls itself"):
        Manifest.from_json(json.dumps(raw))


def test_a_diff_shares_what_is_the_same_copies_what_has_another_mode_and_asks_for_the_rest():
    base = Manifest.of([file("same"), file("moved", TWO), file("tool", "4" * 64)])
    new = file("new", "3" * 64)
    wanted = Manifest.of([file("same"), file("here", TWO), file("tool", "4" * 64, EXECUTABLE), new, link("l", "x")])
    found = diff(base, wanted)
    assert found.shared == {"same": "same", "here": "moved"}
    assert found.copied == {"tool": "tool"}
    assert found.missing == [new]


def test_names_that_fall_together_are_found_also_when_only_their_folders_do():
    entries = [file("Readme"), file("README"), file("Src/a"), file("src/b"), file("caf\u00e9"), file("cafe\u0301")]
    assert sorted(collisions(entries)) == [("README", "Readme"), ("Src", "src"), ("cafe\u0301", "caf\u00e9")]
    assert collisions(entries, case=False) == [("cafe\u0301", "caf\u00e9")]
    assert collisions(entries, form=False) == [("README", "Readme"), ("Src", "src")]
    assert collisions([file("a/x"), file("b/x")]) == []
