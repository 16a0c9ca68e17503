"""Test suites that a laboratory runs against its own drivers."""
