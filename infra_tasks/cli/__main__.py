"""`python -m infra_tasks.cli` is `infra`."""

from infra_tasks.cli import main

main()
