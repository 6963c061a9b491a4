"""The director whose requests wait as the reference picker's configuration says."""
