"""What may not be what was meant, one rule for each warning; `db.spec.warnings` has the table."""
