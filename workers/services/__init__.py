"""What a machine itself offers to keep the watcher running: launchd, systemd."""
