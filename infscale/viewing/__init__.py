"""The documents under `/debug/` for people to look at: read, made into tables, and written as HTML; pure code.

What makes the documents is in `infscale.metrics.published.inspection`, in the picker and in the adapter; what sends the
HTML is `infscale.telemetry.ui_routes`. A terminal shows the same tables: `infscale.top`.
"""
