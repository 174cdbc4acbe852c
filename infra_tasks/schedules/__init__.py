"""Schedules of users: what there is, the turn that fires them, and what people do to them."""
