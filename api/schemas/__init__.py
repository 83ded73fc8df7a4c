"""What the API answers, as pydantic models."""
