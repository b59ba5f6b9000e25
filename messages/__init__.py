"""What travels: messages, their codec, topic names, object keys, the exception root and the catalogue of codes.

Pure: no I/O, no clock, nothing but msgspec.
"""
