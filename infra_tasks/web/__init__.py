"""Flower, as a window anybody here may look through: who is let in, and what it shows of runs no worker spoke of."""
