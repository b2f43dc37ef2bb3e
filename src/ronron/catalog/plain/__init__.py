"""Plain stack files: what reads, translates and refuses each part of one."""
