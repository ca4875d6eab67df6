"""Exact entropy coding: integer tables, the integer scale network, range coders, order of coding of a tile, alpha.

Everything that a decoder needs to find the symbols is an integer here: a stream gives the same symbols everywhere.
"""

from nacre.entropy.alpha import decode_alpha, encode_alpha
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.engines import PYTHON_ENGINE, CompiledEngine, ConstrictionEngine, Engine, default_engine
from nacre.entropy.latent import TileSymbols, decode_tile, encode_tile, symbols_check
from nacre.entropy.network import Executor, IntegerLayer, IntegerNetwork, known_answer
from nacre.entropy.scales import SCALE_LEVELS
from nacre.entropy.tables import MAX_SYMBOL, TOTAL, TOTAL_BITS, TableSet, mix_tables, quantize_pmf

__all__ = [
    "MAX_SYMBOL",
    "PYTHON_ENGINE",
    "SCALE_LEVELS",
    "TOTAL",
    "TOTAL_BITS",
    "CompiledEngine",
    "ConstrictionEngine",
    "Engine",
    "Executor",
    "IntegerLayer",
    "IntegerNetwork",
    "SymbolDecoder",
    "SymbolEncoder",
    "TableSet",
    "TileSymbols",
    "decode_alpha",
    "decode_tile",
    "default_engine",
    "encode_alpha",
    "encode_tile",
    "known_answer",
    "mix_tables",
    "quantize_pmf",
    "symbols_check",
]
