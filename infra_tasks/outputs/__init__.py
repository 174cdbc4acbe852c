"""The files a run leaves: found by the patterns of its spec, kept beside its attempt, put into their place at home.

find.py      which files of an attempt's folders are meant, and which cannot be taken
stage.py     one file from where the command left it into the attempt's `outputs`
collect.py   all of them, with the list of what is there (`outputs.json`)
shelf.py     `runs/<run>/outputs` of the node that is the run's home
arrive.py    those another node has: brought here, checked, put into their place
telling.py   what a result says of them
"""
