"""The keys that session tokens are signed with: read from files, and followed while serving."""
