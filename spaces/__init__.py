"""What may vary: the space of each algorithm and network, and ready-made searches (YAML)."""
