"""What `unrolled check` looks at: a file a task, and what all tasks have."""
