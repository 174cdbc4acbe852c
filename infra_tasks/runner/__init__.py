"""One attempt on this machine: shim, process tree, output. Standard library only."""
