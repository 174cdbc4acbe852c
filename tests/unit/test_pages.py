"""The pages of the docs: each block is of a kind that a test runs or checks, and what they list is what there is."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from docs_blocks import CHECKED, DIRECTIVES, RUN, SHOWN, blocks

import infra_tasks
from infra_tasks import errors
from infra_tasks.cli.catalogue import ENTRIES
from infra_tasks.cli.group import NAMES
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.spec import RunSpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
# What no test can type: it asks for a password of another machine, or stands for a folder of the reader's.
NOT_RUN_AT_MOST = 6
# For type checkers: what is in them is told where they are returned, or in prose.
SHAPES = {"AsCompleted", "OutputsDict", "ResultDict", "RunSignature", "run_spec"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_run_checked_or_only_shown(page):
    for block in blocks(page):
        known = block.language in RUN | CHECKED | SHOWN or DIRECTIVES.fullmatch(block.language)
        assert known, f"{block}: a block of {block.language or 'no language'!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_holds_code_by_indentation_which_nothing_would_run(page):
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    after_a_gap = re.findall(r"(?:^|\n\n)( {4}\S.*)", text)
    assert not after_a_gap, f"{page.name}: put it into a fenced block with its language"


def test_few_blocks_are_not_run_and_each_says_why():
    left = [block for page in PAGES for block in blocks(page) if "not run" in block.said]
    assert len(left) <= NOT_RUN_AT_MOST, [str(block) for block in left]


def test_a_nodes_json_in_a_page_is_one_that_is_taken():
    texts = [block.text for page in PAGES for block in blocks(page) if block.language == "json"]
    fleets = [text for text in texts if "nodes" in json.loads(text)]
    assert fleets
    for text in fleets:
        parse_fleet(text)


def test_every_field_of_a_spec_is_explained():
    told = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "specs.md").read_text(), re.MULTILINE))
    assert told == set(RunSpec.model_fields)


def test_every_command_has_its_place_in_the_reference(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "extensions"))
    import command_reference

    assert re.findall(r"^### infra (.*)$", command_reference.reference(), re.MULTILINE) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_in_the_help_is_taken_by_its_command(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "code" / "hello").mkdir(parents=True)  # a folder that examples name
    command = import_module(ENTRIES[name].module).command
    for line in command.examples:
        with command.make_context(name, _arguments(line, name)) as taken:
            assert taken.command is command


def _arguments(line, name):
    """The words behind `infra NAME`, as a shell splits them, up to the first sign that is one of the shell."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.commenters, words.whitespace_split = "", True
    said = [*words]
    behind = said[said.index("infra") + 1 + len(name.split()) :]
    return list(itertools.takewhile(lambda word: word not in {"|", "<", ">", ">>", "&&", ")"}, behind))


def test_what_the_chinese_readme_has_typed_is_in_the_readme_which_a_test_types_word_for_word():
    def typed(page):
        return {
            line.partition("  #")[0].strip()
            for block in blocks(ROOT / page)
            if block.language in RUN
            for line in block.text.splitlines()
            if line
        }

    assert typed("README.zh-CN.md") - typed("README.md") == set()
    assert len(typed("README.zh-CN.md")) > 10


def test_the_promises_are_told_in_the_same_words_everywhere_and_their_tests_are_there():
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    promised = re.findall(r"^\| \*\*(.*?)\*\* \|", page, re.MULTILINE)
    assert len(promised) == 6
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in promised if f"**{name}" not in readme] == []
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8").split("## 它保证什么")[1].split("\n## ")[0]
    assert len(re.findall(r"^\| \*\*", chinese, re.MULTILINE)) == len(promised)
    for name in re.findall(r"\]\(\.\./(tests/[^)]+)\)", page):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_public_name_has_its_place_in_the_python_reference():
    page = (ROOT / "docs" / "python-reference.md").read_text(encoding="utf-8")
    told = set(re.findall(r":: infra_tasks\.(\w+)", page)) | set(vars(errors))
    assert set(infra_tasks.__all__) - told == SHAPES
