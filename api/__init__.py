"""The HTTP API: routes translate, schemas describe, errors become problem documents."""
