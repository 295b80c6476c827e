"""The benchmark: protocol, data, models, signals, training, evaluation, records, and the service that takes submissions."""

from benchmark.runtime.threads import one_thread_by_default

one_thread_by_default()  # here, because the libraries read the variables when they are first imported
