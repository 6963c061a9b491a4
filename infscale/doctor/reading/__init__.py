"""Asks an API server what the doctor looks at, and reads JSON into `infscale.doctor.view`.

`cluster_reader` asks; the others read and do no input or output. What is odd in an object is left out, never an error:
an object that a person wrote for another version of its definition is what the doctor is there for.
"""
