"""What was typed, as names of keys: letters as they are, others as `up`, `esc`, `enter`. Pure."""

from __future__ import annotations

import re

ESC = "\x1b"
# What terminals send in application and in normal mode (xterm ctlseqs, terminfo kcu*, knp, kpp).
_SEQUENCES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "5~": "pageup", "6~": "pagedown", "1~": "home", "4~": "end", "7~": "home", "8~": "end",
}  # fmt: skip
_PLAIN = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\t": "tab", "\x15": "ctrl-u",
          "\x03": "ctrl-c", "\x0c": "ctrl-l"}  # fmt: skip
_CSI = re.compile(r"\x1b(?:\[[0-9;?]*([@-~])|O(.))", re.DOTALL)
_NUMBER = re.compile(r"\d+")


def keys(typed: str, *, whole: bool) -> tuple[list[str], str]:
    """Return the keys, and what may be the beginning of one more. `whole`: nothing will follow, so there is no such."""
    found: list[str] = []
    at = 0
    while at < len(typed):
        if typed[at] != ESC:
            sign = typed[at]
            at += 1
            if sign in _PLAIN or sign.isprintable():
                found.append(_PLAIN.get(sign, sign))
            continue
        sequence = _CSI.match(typed, at)
        if sequence:
            found += _named(sequence)
            at = sequence.end()
        elif not whole and _may_go_on(typed[at:]):
            return found, typed[at:]
        else:
            found.append("esc")
            at += 1
    return found, ""


def _named(sequence: re.Match[str]) -> list[str]:
    """Return the key of a sequence, modifiers left out; an unknown one is none."""
    final = sequence[1] or sequence[2]
    number = _NUMBER.search(sequence[0])
    name = _SEQUENCES.get(f"{number[0] if number else ''}~" if final == "~" else final)
    return [name] if name else []


def _may_go_on(rest: str) -> bool:
    return re.fullmatch(r"\x1b(?:\[[0-9;?]*|O)?", rest) is not None
