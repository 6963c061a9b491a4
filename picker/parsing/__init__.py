"""Request bodies of the inference APIs: which parser takes a path, and what scheduling needs of a body.

Pure functions of bytes. The JSON or protobuf of a body is decoded once, here; nothing decoded leaves the package.
"""

from picker.parsing.framed import parse_body
from picker.parsing.model_span import with_model
from picker.parsing.reading import Reading
from picker.parsing.table import DEFAULT_PARSERS, PARSER_TYPES, ParserTable, Route

__all__ = ["DEFAULT_PARSERS", "PARSER_TYPES", "ParserTable", "Reading", "Route", "parse_body", "with_model"]
