"""Pages that show runs to people: the report and the model card of `unrolled report`."""
