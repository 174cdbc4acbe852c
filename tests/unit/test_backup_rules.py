"""What a backup may hold and where it may be put back: decided without touching a disk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra_tasks.model.backup import (
    FORMAT,
    LEDGER,
    LedgerCopy,
    Manifest,
    Member,
    Target,
    complaint,
    doubts,
    file_name,
    is_ours,
    is_worth_keeping,
    replaces,
)

SHA = "0" * 64
COPY = LedgerCopy("6.2.14", "a" * 40, {"SUCCESS": 3}, 3)
MANIFEST = Manifest(
    1000.0, "0.1.0", "home", "mac-1", "u-1", COPY, (Member(LEDGER, 5, SHA), Member("nodes.json", 2, SHA))
)
DAY_S = 86400.0


@pytest.mark.parametrize(
    "name",
    [
        "ledger.rdb",
        "node.json",
        "secrets/redis.password",
        "ssh/known_hosts",
        "archive/2026-11.jsonl.zst",
        "runs/0f3a/1/exit.json",
        "live/0f3a@1",
    ],
)
def test_files_of_a_node_are_taken(name):
    assert is_ours(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../nodes.json",
        "secrets/../../x",
        "secrets/..",
        "runs//x",
        "runs",
        "runs/",
        "redis/redis.conf",
        "bin/porter",
        "nodes.json/x",
        "ssh/a\nb",
        "ssh/\0",
        "runs/./x",
        "watcher.lock",
    ],
)
def test_a_name_that_no_backup_writes_or_that_leads_elsewhere_is_not_taken(name):
    assert not is_ours(name)


def test_what_is_written_is_what_is_read():
    assert Manifest.parsed(MANIFEST.text()) == MANIFEST


def changed(**more):
    said = {**json.loads(MANIFEST.text()), **more}
    return json.dumps({name: value for name, value in said.items() if value != "left out"}).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[]", "has no format"),
        (b"{}", "has no format"),
        (changed(format=FORMAT + 1, version="9.9"), "written by infra 9.9"),
        (changed(members="left out"), "another form"),
        (changed(surprise=1), "another form"),
        (changed(ledger=None), "disagree on the ledger"),
        (changed(members=[]), "disagree on the ledger"),
        (changed(members=[{"name": "../x", "size_bytes": 1, "sha256": SHA}]), "no file of a node"),
        (changed(members=[{"name": "manifest.json", "size_bytes": 1, "sha256": SHA}]), "no file of a node"),
        (changed(members=[{"name": LEDGER, "size_bytes": 1, "sha256": "x"}]), "no digest or size"),
        (changed(members=[{"name": LEDGER, "size_bytes": -1, "sha256": SHA}]), "no digest or size"),
        (changed(members=[{"name": LEDGER, "size_bytes": 1, "sha256": SHA}] * 2), "twice"),
        (b"\xff", "decode"),
    ],
)
def test_a_manifest_of_another_form_is_refused_in_words(text, said):
    with pytest.raises(ValueError, match=said):
        Manifest.parsed(text)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("/r"), None),
        (Target("/r", "mac-1", "u-1", "home", ("runs", "redis")), None),
        (Target("/r", "mac-1", "u-1", None, ("runs",)), None),
        (Target("/r", "mac-1", "u-2", "home"), "node mac-1 .uuid u-2."),
        (Target("/r", "mac-1", "u-1", "other"), "belongs to fleet other"),
        (Target("/r", None, None, "other", ("nodes.json",)), "belongs to fleet other"),
        (Target("/r", None, None, None, ("Documents", "Music")), "not empty .it has Documents, Music."),
    ],
)
def test_a_backup_goes_into_an_empty_folder_or_that_of_the_same_node_and_nowhere_else(target, said):
    import re

    found = complaint(MANIFEST, target)
    assert (found is None) if said is None else re.search(said, found or "")
    assert found is None or "INFRA_HOME=FOLDER" in found


def test_an_end_the_copy_may_not_know_is_kept_and_one_it_knows_for_sure_is_not():
    assert is_worth_keeping(ended=True, reported_at=None, copied_at=1000)
    assert is_worth_keeping(ended=True, reported_at=1001, copied_at=1000)
    assert is_worth_keeping(ended=True, reported_at=950, copied_at=1000)
    assert not is_worth_keeping(ended=True, reported_at=900, copied_at=1000)
    assert not is_worth_keeping(ended=False, reported_at=None, copied_at=1000)


def test_what_a_node_wrote_of_its_runs_is_never_replaced():
    names = ["ledger.rdb", "nodes.json", "secrets/x", "ssh/known_hosts", "runs/a/1/exit.json", "live/a@1", "archive/x"]
    assert replaces(names) == ["nodes.json", "secrets", "ssh", "redis"]
    assert replaces(["node.json", "ports.json"]) == ["node.json"]


def test_a_person_is_told_of_an_old_backup_and_of_a_machine_that_must_stay_off():
    fresh = {"now": 1000 + DAY_S, "keep_runs_days": 7, "is_new": False}
    assert doubts(MANIFEST, **fresh) == []
    (old,) = doubts(MANIFEST, **{**fresh, "now": 1000 + 8 * DAY_S})
    assert "keep_runs_days (7)" in old
    assert doubts(replace(MANIFEST, ledger=None), **{**fresh, "now": 1000 + 8 * DAY_S}) == []
    (new,) = doubts(MANIFEST, **{**fresh, "is_new": True})
    assert "must stay off" in new


def test_a_name_tells_fleet_node_and_time():
    assert file_name("home", "mac-1", 0.0).startswith("infra-home-mac-1-")
    assert file_name("home", "mac-1", 0.0).endswith(".tar.zst")
