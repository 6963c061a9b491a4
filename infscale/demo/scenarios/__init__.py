"""The demo's scenarios: what happens in each, what it is measured by, and how a pool is scaled meanwhile; pure code."""
