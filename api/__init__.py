"""The HTTP API: routes translate, schemas describe, services join."""
