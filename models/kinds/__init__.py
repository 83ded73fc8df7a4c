"""The kinds of layers that a blueprint is made of: frozen records, free of torch."""
