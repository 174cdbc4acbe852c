"""The audit: everything that was ever submitted is accounted for, and all parts of a node agree about it."""
