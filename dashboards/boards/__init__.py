"""One module for each board: its panels as rows of a table. A metric that people should see gets a row here."""

from dashboards.boards.endpoint import ENDPOINT
from dashboards.boards.gpu import GPU
from dashboards.boards.model import MODEL
from dashboards.boards.overview import OVERVIEW
from dashboards.boards.picker import PICKER
from dashboards.boards.pool import POOL
from dashboards.boards.scaling import SCALING
from dashboards.rows import Board

BOARDS: tuple[Board, ...] = (OVERVIEW, POOL, ENDPOINT, MODEL, SCALING, PICKER, GPU)
"""All boards, in the order of their links."""
