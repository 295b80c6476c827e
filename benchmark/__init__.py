"""The benchmark: protocol, data, models, signals, training, evaluation, records, and the service that takes submissions."""
