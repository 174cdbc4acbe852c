"""Files that a run brings home, however it ends.

python examples/outputs.py
"""

from pathlib import Path

import infra_tasks

COMMAND = "mkdir model; echo weights > model/weights.txt; echo epoch,loss > loss.csv; echo 1,0.5 >> loss.csv; exit 1"


def main() -> None:
    ended = infra_tasks.run({"command": COMMAND, "outputs": ["model/", "*.csv", "*.png"]}, check=False)
    outputs = ended.outputs
    if outputs is None or outputs["folder"] is None:
        raise SystemExit(f"nothing came home: {ended.cause}")
    print(f"{ended.state}, and {outputs['count']} files all the same; nothing matched {', '.join(outputs['missing'])}")
    for file in outputs["files"]:
        print(f"{file['path']} ({file['size_bytes']} bytes)")
    print((Path(outputs["folder"]) / "loss.csv").read_text().strip())


if __name__ == "__main__":
    main()
