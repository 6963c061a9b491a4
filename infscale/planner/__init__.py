"""How many servers there should be; pure arithmetic."""
