"""Request bodies of the inference APIs: which parser takes a path, and what scheduling needs of a body.

Pure functions of bytes. The JSON or protobuf of a body is decoded once, here; nothing decoded leaves the package.
"""

from picker.parsing.encodings import decoding
from picker.parsing.framed import json_of, parse_body, parse_outline
from picker.parsing.model_span import with_model
from picker.parsing.outline import Outline, outlined
from picker.parsing.table import DEFAULT_PARSERS, PARSER_TYPES, ParserTable, Route, longest_suffix

__all__ = [
    "DEFAULT_PARSERS",
    "PARSER_TYPES",
    "Outline",
    "ParserTable",
    "Route",
    "decoding",
    "json_of",
    "longest_suffix",
    "outlined",
    "parse_body",
    "parse_outline",
    "with_model",
]
