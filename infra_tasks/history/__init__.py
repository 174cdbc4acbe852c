"""Runs that have left the ledger: exported to files of this node, and found again there."""
