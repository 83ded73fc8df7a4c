"""Everything that runs a job."""
