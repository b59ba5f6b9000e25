"""Stand-in for Tencent COS and its picture service CI; it verifies what it receives."""
