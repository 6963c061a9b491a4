"""Sources of values beside the metrics pages of model servers, such as GPU exporters: how they are set and run."""
