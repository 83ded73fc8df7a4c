"""Which network a job trains: one part for each network."""
