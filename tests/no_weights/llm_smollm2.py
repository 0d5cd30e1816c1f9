"""Hides the package of this name from tests without the mark `weights`, see conftest.py."""
