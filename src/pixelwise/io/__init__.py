"""Files and arrays: bytes decoded and encoded; nothing here knows what a label is."""
