"""Amounts as people read them. Pure."""

from __future__ import annotations


def bytes_in_words(size_bytes: float) -> str:
    """Return bytes: 512 B, 9.0 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


def files_in_words(files: int) -> str:
    """Return how many files: 1 file, 12,345 files."""
    return "1 file" if files == 1 else f"{files:,} files"


def transfer_in_words(files: int, size_bytes: int, shared_files: int, way: str, duration_s: float) -> str:
    """Return what was brought: 12 files, 1.2 MiB brought to mac-2 in 0.41 s, 9,988 shared."""
    shared = f", {shared_files:,} shared" if shared_files else ""
    return f"{files_in_words(files)}, {bytes_in_words(size_bytes)} brought {way} in {duration_s:.2f} s{shared}"
