"""How other nodes are called, in which order they are asked, and what they say to each other."""

from __future__ import annotations

import subprocess

import pytest

from infra_tasks import errors
from infra_tasks.errors import BadFleet, NamesCollide, ReleaseError
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.releases.remote import talk
from infra_tasks.releases.remote.peer import peer_of, shell_path
from infra_tasks.suppliers import in_order

FLEET = """
{"fleet": "f", "nodes": {
  "n1": {"ssh": "local", "root": "~/.infra"},
  "n2": {"ssh": "ann@mac-2", "root": "~/my infra"},
  "n3": {"ssh": "ann@[fd00::3]:2222", "root": "/srv/infra"}},
 "projects": {"app": {"source": "/src", "node": "n2"}, "own": {"source": "/src", "node": "n1"}}}
"""


@pytest.fixture(scope="module")
def fleet():
    return parse_fleet(FLEET)


def test_a_home_folder_is_for_the_shell_at_the_far_end_to_fill_in():
    assert shell_path("~/my infra/bin") == "\"$HOME\"/'my infra/bin'"
    assert shell_path("/srv/x") == "/srv/x"
    assert shell_path("~") == '"$HOME"'


@pytest.mark.parametrize("path", ["/srv/it's $HOME", "/a b/`id`", '/"q"/#1'])
def test_a_shell_reads_a_quoted_path_as_it_was(path):
    said = subprocess.run(["sh", "-c", f"printf %s {shell_path(path)}"], capture_output=True, text=True, check=True)
    assert said.stdout == path


def test_a_peer_is_called_as_nodes_json_says(fleet):
    two, three = peer_of(fleet, "n2"), peer_of(fleet, "n3")
    assert (two.target, two.porter) == ("ann@mac-2", "\"$HOME\"/'my infra/bin/porter'")
    assert (three.target, three.address.port) == ("ann@[fd00::3]", 2222)


@pytest.mark.parametrize(("name", "said"), [("n4", "no node 'n4'"), ("n1", "no ssh address")])
def test_who_cannot_be_called_is_said(fleet, name, said):
    with pytest.raises(BadFleet, match=said):
        peer_of(fleet, name)


def test_the_node_with_the_source_is_asked_first_then_the_holders_and_nobody_twice(fleet):
    assert in_order(fleet, "n1", "app", ["n3", "n2"]) == ["n2", "n3"]


def test_nobody_asks_itself_nor_a_node_that_is_gone_or_has_no_address(fleet):
    assert in_order(fleet, "n3", "own", ["n3", "n9"]) == []
    assert in_order(fleet, "n2", "unknown", ["n3"]) == ["n3"]


def test_names_that_are_no_utf8_survive_the_wire():
    message = {"bring": {"paths": ["a\udcffb", "line\nbreak", "\u2028"]}}
    line = talk.encode(message)
    assert line.count(b"\n") == 1
    assert talk.decode(line.rstrip(b"\n")) == message


def test_an_error_keeps_its_kind_on_the_way():
    told = talk.error_of(talk.error_message(NamesCollide("a and A")))
    assert (type(told), str(told)) == (NamesCollide, "a and A")


@pytest.mark.parametrize("kind", ["OSError", "InfraError", "annotations", "RunFailed", None])
def test_an_error_of_a_kind_that_is_none_of_ours_is_a_release_error(kind):
    told = talk.error_of({"kind": kind, "said": "x"})
    assert type(told) is ReleaseError
    assert hasattr(errors, "ReleaseError")


@pytest.mark.parametrize("line", [b"Welcome to mac-2!", b"[]", b"7", b"{"])
def test_what_is_no_message_is_refused(line):
    with pytest.raises(ValueError, match=r".+"):
        talk.decode(line)
