"""The code on a node: snapshot, ensure, verify, prune."""
