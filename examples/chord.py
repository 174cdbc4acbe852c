"""A chord: parts side by side, and one run behind all of them.

python examples/chord.py
"""

from celery import chord

from infra_tasks import run_spec

PARTS = 3


def main() -> None:
    parts = [run_spec.s({"command": ["echo", f"part {number}"]}) for number in range(PARTS)]
    body = run_spec.s({"command": ["echo", "all parts are done"]})
    result = chord(parts)(body)
    print(result.get(timeout=300)["stdout_tail"].strip())
    print("parts:", ", ".join(part["stdout_tail"].strip() for part in result.parent.get(timeout=300)))


if __name__ == "__main__":
    main()
