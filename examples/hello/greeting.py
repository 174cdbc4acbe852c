"""The second file of the project: if you can read its words, your code came along whole."""


def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"


def wave(step: int) -> str:
    """Return where the hand is at this step."""
    return "~" * step + " o/" if step % 2 else "~" * step + " \\o"
