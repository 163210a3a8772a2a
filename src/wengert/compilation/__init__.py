"""Compilation: Programs and their sweeps as code, looked up by structure."""
