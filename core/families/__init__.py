"""What the cores of one family share: a base class each."""
