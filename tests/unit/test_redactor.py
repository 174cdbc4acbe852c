"""What is masked, however it is cut in pieces, and what is left as it is."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.model.redactor import Redactor, without_logins
from infra_tasks.model.secret_rules import LEAST_CHARACTERS

SECRET = "s3cr3t/Value+%"

few_letters = st.text("ab", min_size=LEAST_CHARACTERS, max_size=12)


def streamed(redactor, pieces, *, pauses=False):
    stream = redactor.stream()
    told = []
    for piece in pieces:
        told.append(stream.feed(piece))
        told.append(stream.idle() if pauses else b"")
    return b"".join([*told, stream.end()])


def covered(text, secrets):
    """Return the text with every byte that any occurrence covers as `*`; the slow way."""
    hidden = {
        at + step
        for secret in secrets
        for at in range(len(text) - len(secret) + 1)
        if text.startswith(secret, at)
        for step in range(len(secret))
    }
    return re.sub(r"\*+", "*", "".join("*" if at in hidden else letter for at, letter in enumerate(text)))


def shortened(told):
    return re.sub(r"\*+", "*", told.decode())


@given(
    st.text("ab", max_size=40) | st.text("abc", max_size=60), st.lists(few_letters, min_size=1, max_size=3), st.data()
)
def test_whatever_overlaps_and_however_it_is_cut_all_of_it_is_masked_and_nothing_else(text, secrets, data):
    whole = text + "cccccccc"  # so that no beginning is left at the end
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=4)))
    pieces = [whole[a:b].encode() for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert shortened(streamed(Redactor(secrets), pieces)) == covered(whole, secrets)


@given(st.text("ab", max_size=40), st.lists(few_letters, min_size=1, max_size=3), st.data())
def test_pauses_give_away_fewer_characters_than_the_shortest_secret_has(text, secrets, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b].encode() for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    told = streamed(Redactor(secrets), pieces, pauses=True).decode()
    assert not any(secret in told for secret in secrets)


def test_occurrences_that_overlap_are_masked_to_the_end_of_the_last():
    assert Redactor(["abab"]).text("cabababc") == "c***c"
    assert streamed(Redactor(["abab"]), [b"cabababc"]) == b"c***c"
    assert streamed(Redactor(["abcd", "cdef"]), [b"xabcd", b"efx"]) == b"x******x"
    assert streamed(Redactor(["aaaa", "baaaaa"]), [b"b", b"aaaa", b"ac"]) == b"***c"


def test_one_letter_at_a_time_is_masked():
    told = streamed(Redactor([SECRET]), [bytes([each]) for each in f"it is {SECRET}.\n".encode()])
    assert told == b"it is ***.\n"


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret,
        lambda secret: json.dumps({"token": secret}),
        lambda secret: f"https://host/?token={quote(secret, safe='')}",
        lambda secret: base64.b64encode(f"u:{secret}".encode()).decode(),
        lambda secret: base64.b64encode(f"us:{secret}:x".encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(f"usr:{secret}".encode()).decode(),
    ],
)
@pytest.mark.parametrize("secret", [SECRET, 'a"quoted\\ one\nof two lines', "größer ☂ and ??>>~~"])
def test_a_secret_is_found_as_json_urls_and_base64_write_it(written, secret):
    line = f"before {written(secret)} behind"
    told = Redactor([secret]).text(line)
    assert "***" in told
    assert written(secret) not in told
    assert told.startswith("before ")
    assert told.endswith(" behind")


def test_each_line_of_a_key_is_masked():
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\r\nshort\n-----END KEY-----\n"
    assert Redactor([key]).text("> MIIEpAIBAAKCAQEA7") == "> ***"
    assert Redactor([key]).text("short") == "short"


def test_the_longest_of_several_is_masked_whole():
    redactor = Redactor(["secret", "secret-and-more"])
    assert redactor.text("secret-and-more, secret") == "***, ***"
    assert streamed(redactor, [b"secret", b"-and-more"]) == b"***"
    assert streamed(redactor, [b"secret"]) == b"***"
    assert streamed(redactor, [b"secret", b"-"]) == b"***-"


def test_only_what_may_be_a_beginning_waits_and_a_few_letters_of_it_not_for_long():
    stream = Redactor(["hunter22"]).stream()
    assert stream.feed(b"password: h") == b"password: "
    assert stream.idle() == b"h"
    assert stream.feed(b"unter22 ok") == b"*** ok"
    assert stream.feed(b"and hunt") == b"and "
    assert stream.idle() == b""
    assert stream.feed(b"ing") == b"hunting"


def test_the_end_lets_a_small_beginning_out_and_masks_the_greater_part():
    assert streamed(Redactor(["hunter22"]), [b"a hun"]) == b"a hun"
    assert streamed(Redactor(["hunter22"]), [b"a hunter2"]) == b"a ***"


def test_bytes_that_are_no_text_pass():
    noise = bytes(range(256)) * 3
    assert streamed(Redactor([SECRET]), [noise[:100], noise[100:]]) == noise


def test_without_secrets_and_with_too_short_ones_nothing_changes():
    assert Redactor([]).text("abc") == "abc"
    assert Redactor(["abc"]).text("abc") == "abc"


def test_logins_of_urls_are_masked():
    assert without_logins("at redis://:pw@h:1/0 and redis://u:p@x@h/1") == "at redis://***@h:1/0 and redis://***@h/1"
    assert without_logins("mail to a@b") == "mail to a@b"


@pytest.mark.parametrize("word", ["x", "x:", "x,y", "/", "a//"])
def test_a_long_text_without_a_blank_is_searched_for_logins_in_one_go(word):
    long = word * 200_000  # work that grows with its square would take hours
    assert without_logins(f"{long} redis://:pw@h") == f"{long} redis://***@h"
