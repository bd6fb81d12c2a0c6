"""What goes wrong with an engine.

lago.errors.LagoError
└── EngineError             an engine refuses, or what it was asked for did not come about
    └── EngineNotReady      not yet; trying again later may help
"""

from __future__ import annotations

from lago.errors import LagoError


class EngineError(LagoError):
    """An engine refuses, or what it was asked for did not come about; the details have its last event."""


class EngineNotReady(EngineError):
    """An engine does not answer yet, or something on it is not yet as it should be."""
