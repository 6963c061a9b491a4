"""How many replicas an HPA asks for: the arithmetic of its controller; pure code."""
