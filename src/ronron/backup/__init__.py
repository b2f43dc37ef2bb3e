"""Backups: a restic repository, dumps of databases, and the way back."""
