"""How the learning rate moves: torch's schedulers and arguments, counted in optimizer steps."""
