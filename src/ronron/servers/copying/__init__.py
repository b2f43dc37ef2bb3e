"""Folders copied from server to server, over the connections that ronron has, and compared."""
