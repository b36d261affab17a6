"""The built-in translation data: sentences composed from Unicode CLDR."""
