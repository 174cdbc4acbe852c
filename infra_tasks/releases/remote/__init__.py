"""Releases on other nodes: asked for, brought there and fetched from there, over ssh and rsync."""
