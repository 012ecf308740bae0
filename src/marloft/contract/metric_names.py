"""The names of all metrics that marloft exposes, in Prometheus' form: the only place that has them.

Workers' metrics and the gauges of the joined log are read at the exporter (port 9102), the
gateway's at Envoy's admin port (9901, `/stats/prometheus`), the supervisor's at its own (9103).
"""

# One worker's part of these is in its own file below `$PROMETHEUS_MULTIPROC_DIR`.
REQUESTS = "marloft_requests_total"
ERRORS = "marloft_errors_total"
BATCH_SIZE = "marloft_batch_size"
STAGE_SECONDS = "marloft_stage_seconds"
LOG_BYTES = "marloft_log_bytes_total"
LOG_FAILURES = "marloft_log_failures_total"
LOG_DROPPED = "marloft_log_dropped_records_total"

# At TorchServe's own /metrics, port 8082: ours by version, and what TorchServe counts by itself.
TORCHSERVE_FAILURES = "FailedRequests"
TORCHSERVE_REQUESTS = "ts_inference_requests_total"
TORCHSERVE_QUEUE = "ts_queue_latency_microseconds"

# Gauges over a window of the joined log.
ACCURACY = "marloft_live_accuracy"
PRECISION = "marloft_live_precision"
RECALL = "marloft_live_recall"
MEAN_ABSOLUTE_ERROR = "marloft_live_mean_absolute_error"
CTR = "marloft_live_ctr"
CONVERSION = "marloft_live_conversion"
SHOWN_ITEMS = "marloft_live_shown_items"
ANSWERS = "marloft_live_answers"
READ_SECONDS = "marloft_live_read_seconds"
DAMAGED_LINES = "marloft_live_damaged_lines_total"
SKIPPED_BYTES = "marloft_live_skipped_bytes_total"

# What `marloft serve` says of itself, at port 9103.
SERVE_LIVE = "marloft_serve_live"
SERVE_FAULT = "marloft_serve_fault"
SERVE_LAST_LOOK = "marloft_serve_last_look_timestamp_seconds"
SERVE_RESTARTS = "marloft_serve_restarts_total"
SERVE_VERSION = "marloft_serve_version_state"

# Envoy joins prefix and name with a dot, which its Prometheus form turns into an underscore.
GATEWAY_STAT_PREFIX = "marloft_gateway"
GATEWAY_LATENCY_STAT = "latency_microseconds"
GATEWAY_REFUSAL_STAT = "refusal_microseconds"
GATEWAY_REQUESTS_STAT = "requests"
GATEWAY_IN_FLIGHT_STAT = "in_flight"
GATEWAY_LATENCY = "envoy_marloft_gateway_latency_microseconds"
GATEWAY_REFUSAL = "envoy_marloft_gateway_refusal_microseconds"
GATEWAY_REQUESTS = "envoy_marloft_gateway_requests"
GATEWAY_IN_FLIGHT = "envoy_marloft_gateway_in_flight"
GATEWAY_LATENCY_BUCKETS_US = (
    *(500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000),
    *(75_000, 100_000, 150_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
)

STAGE_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03),
    *(0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

# Prometheus adds these to the name of a histogram.
HISTOGRAMS = (BATCH_SIZE, STAGE_SECONDS, GATEWAY_LATENCY, GATEWAY_REFUSAL)
