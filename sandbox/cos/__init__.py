"""A stand-in for Tencent COS and its picture service CI that verifies what it is sent instead of trusting it."""
