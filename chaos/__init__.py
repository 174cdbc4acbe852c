"""The chaos suite: a workload, a nemesis that breaks things meanwhile, and a checker that reads what came of it.

plan         what is handed in, drawn from a seed           (pure)
strikes      what breaks when, drawn from the same seed     (pure)
hand_in      a process that hands the plan in, as a user would, and notes what was accepted
effect       the command of every run: it notes its own starts, signs of life and ends
nemeses/     how each strike is done and undone
beds/        what is struck: one whole node, three nodes in a network, plain Celery
absences     from when until when nodes were away           (pure)
witness      sees from outside when a run became final
checker      what must never be, from the notes alone         (pure)
tally        what a storm did to the runs of whoever was struck (pure)
compare      the same storms over plain Celery and over us
storm        one of all that together
guards       the product with one guard switched off: the suite must notice
"""
