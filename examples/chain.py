"""A chain: each run starts when the one before it has succeeded. After a failure nothing more starts.

python examples/chain.py
"""

from celery import chain

from infra_tasks import RunFailed, run_spec


def main() -> None:
    steps = chain(
        run_spec.si({"command": ["echo", "fetched"], "name": "fetch"}),
        run_spec.si({"command": ["echo", "trained"], "name": "train"}),
        run_spec.si({"command": ["echo", "reported"], "name": "report"}),
    )
    last = steps.apply_async()
    print("last step:", last.get(timeout=300)["stdout_tail"].strip())
    print("before it:", last.parent.get(timeout=300)["stdout_tail"].strip())

    broken = chain(run_spec.si({"command": "exit 3"}), run_spec.si({"command": ["echo", "never"]})).apply_async()
    try:
        broken.parent.get(timeout=300)
    except RunFailed as error:
        print("broken step: exit code", error.result["exit_code"])
    print("what came behind it is", broken.state)


if __name__ == "__main__":
    main()
