"""Files as people have them: what letters, tables, archives and folders are, for all tasks."""
