"""Messages and their codec, topic names, object keys, the root of the exceptions and the catalogue of codes.

Pure: no I/O, no clock, no library but msgspec.
"""
