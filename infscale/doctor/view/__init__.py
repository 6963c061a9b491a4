"""What the doctor saw of a cluster at one moment: frozen dataclasses that rules and predictions read.

How they are read from JSON is in `infscale.doctor.reading`.
"""
