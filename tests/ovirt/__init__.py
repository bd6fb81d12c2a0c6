"""Tests of ovirtlago."""
