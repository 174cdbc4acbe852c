"""One file per command of `infra`, loaded when the command is used. Each has a `command`."""
