"""The live page of `unrolled demo`: a file a task, and what all tabs share."""
