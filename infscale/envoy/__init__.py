"""Configuration of the real Envoy in front of the picker, and a process that runs it."""
