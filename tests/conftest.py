"""Shared by all tests: nothing they do may reach a network, a hub or the user's home."""

from __future__ import annotations

import os
import signal

# Before torch, transformers and diffusers are imported: a test that would download fails at once instead of waiting.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

# `nohup` leaves SIGHUP ignored, and what a test starts would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
