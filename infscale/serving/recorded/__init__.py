"""Recording requests while serving: the file, and the part that writes it."""
