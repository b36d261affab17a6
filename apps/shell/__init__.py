"""What all commands share: their table, arguments and help, what they open and write."""
