"""Settings of the unit tests."""

from hypothesis import settings

# A busy machine makes one example slow, not wrong; and every run tries the same examples.
settings.register_profile("ronron", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("ronron")
