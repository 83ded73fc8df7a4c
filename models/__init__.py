"""Networks as blueprints, norms, and the builder."""
