"""Hides the package of this name from tests without a mark, see conftest.py."""
