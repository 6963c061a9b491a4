"""infscale: one metrics store that routing and scaling of LLM model servers both decide from."""

__version__ = "0.1.0"
