"""A parameter sweep: many runs of one command, handed over at once, looked at as they end.

python examples/sweep.py
"""

from infra_tasks import RunSpec, run_spec

RATES = [0.1, 0.2, 0.3, 0.4, 0.5]
SCORE = "import sys; rate = float(sys.argv[1]); print(round(1 - (rate - 0.3) ** 2, 4))"


def main() -> None:
    results = run_spec.map(
        RunSpec(command=["python3", "-c", SCORE, str(rate)], name=f"rate {rate}", timeout_s=60) for rate in RATES
    )
    for run in results.as_completed(timeout=300):
        print(f"{run.name} ended on {run.node}: {run.state}")
    scores = [float(result["stdout_tail"]) for result in results.get()]
    best, score = max(zip(RATES, scores, strict=True), key=lambda pair: pair[1])
    print(f"best rate {best} with a score of {score}")


if __name__ == "__main__":
    main()
