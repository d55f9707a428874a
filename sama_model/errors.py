"""Errors that the model raises on purpose, beside ValueError for a call that makes no sense. No torch here."""


class WeightsError(ValueError):
    """Model files that are missing, damaged, or of another model than they are said to be."""


class DeviceTooSmallError(RuntimeError):
    """The device has not enough memory for the smallest exact profile: only another device helps."""
