"""Faults: functions that act on the fault context. They return a `Done`, or None if the fault is not possible now.

A fault's name is its function's name. A lasting fault returns how to undo it.
"""
