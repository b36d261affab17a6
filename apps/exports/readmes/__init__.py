"""Pages of exported folders."""
