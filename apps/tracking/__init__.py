"""What the loggers of a run are told beside its metrics: configuration, rates, samples."""
