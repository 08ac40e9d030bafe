"""What shifts requests: one adapter a target behind one small interface.

Import the modules, not this package.
"""
