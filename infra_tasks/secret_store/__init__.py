"""Where the secrets of a node are: its file, and the command that knows more of them."""
