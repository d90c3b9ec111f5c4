"""Benchmarks, run by hand and by ``make bench``; nothing here is asserted in tests."""
