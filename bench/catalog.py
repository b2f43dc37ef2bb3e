"""The catalog rendered and checked, and a vault of many secrets loaded."""
