"""What outlives a process: spec, tables, queries, files, settings."""
