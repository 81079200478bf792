"""ireeperf: a compiler-first SDXL and LLM pipeline on IREE, from PyTorch to a scored MLPerf result."""

__version__ = "0.1.0"
