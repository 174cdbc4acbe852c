"""The processes of one machine: watcher, roles, agent, worker, control."""
