"""Why each pick was as it was: inputs kept compactly, decided again stage by stage, and by other configurations."""
