"""Engines that are started for a run: found, started, watched, started again, and stopped; on POSIX systems."""
