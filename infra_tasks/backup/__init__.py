"""Backup and restore of a node: its ledger, what it is, and ends that a copy of the ledger may not know."""
