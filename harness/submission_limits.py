"""What MLPerf Inference v5.1 asks of a stable-diffusion-xl submission, as data.

Figures are those of tools/submission/submission_checker.py and compliance/TEST01, TEST04 of mlcommons/inference at tag v5.1.1.
"""

from __future__ import annotations

from typing import Final

BENCHMARK: Final = "stable-diffusion-xl"
VERSION: Final = "v5.1"
DIVISIONS: Final = ("closed", "open")
FIXTURE: Final = "FIXTURE"  # submitter of the tests' tree: no command writes it
REHEARSER: Final = "REHEARSAL"  # submitter of every tree with null devices' runs
SCENARIOS: Final = ("Offline", "Server")
# of the system's type; SingleStream is no scenario of ours, so a closed edge tree always lacks it
REQUIRED_SCENARIOS: Final = {"datacenter": ("Offline", "Server"), "edge": ("SingleStream", "Offline"),
                             "datacenter,edge": ("SingleStream", "Offline", "Server"),
                             "edge,datacenter": ("SingleStream", "Offline", "Server")}
TESTS: Final = ("TEST01", "TEST04")
STATUS: Final = ("available", "preview", "rdi")

SAMPLES: Final = 5000  # data set, performance_sample_count, and samples of an Offline query: each at least this
MIN_DURATION_MS: Final = 600_000
TARGET_LATENCY_NS: Final = 20_000_000_000  # Server, 99th percentile
SEEDS: Final = {"qsl_rng_seed": 1780908523862526354, "sample_index_rng_seed": 14771362308971278857,
                "schedule_rng_seed": 18209322760996052031}
LOADGEN: Final = "5.1"  # release whose embedded seeds these are
IMAGE_SHAPE: Final = (1024, 1024, 3)
IMAGES: Final = (2747, 2235, 2165, 1515, 1538, 1367, 2419, 4629, 3657, 4532)  # text_to_image/tools/sample_ids.txt
# compliance/TEST01, TEST04: audit.config. LoadGen ignores TEST04's `stable-diffusion-xl.Offline.min_query_count = 500`, and a
# query of 500 samples would be refused by the checker, which wants 5,000 of the tests' runs as well
AUDIT: Final[dict[str, dict[str, int | bool]]] = {
    "TEST01": {"accuracy_log_rng_seed": 720381539243781796, "accuracy_log_sampling_target": 128},
    "TEST04": {"performance_issue_unique": False, "performance_issue_same": True, "performance_issue_same_index": 3},
}
TEST_TOLERANCE: Final = 0.10  # TEST01: the test's score within this of the performance run's; TEST04: not this much above it
PART_3_TOLERANCE: Final = {"CLIP_SCORE": 0.01, "FID_SCORE": 0.02}  # of TEST01's ~128 samples, when answers are not reproducible

VIEWABLE: Final = 4096  # characters that a truncated accuracy log keeps of either end (truncate_accuracy_log.py)
ELISION: Final = "\n\n...\n\n"
LOG_BYTES: Final = 10 * 1024  # of a truncated accuracy log, at most
FILE_BYTES: Final = 50 * 2**20

MEASUREMENT_KEYS: Final = ("input_data_types", "retraining", "starting_weights_filename", "weight_data_types",
                           "weight_transformations")
# key -> whether the checker wants more than an empty value; 0 counts as empty, "0" and "N/A" do not
SYSTEM_KEYS: Final[dict[str, bool]] = {
    "division": True, "submitter": True, "status": True, "system_name": True, "system_type": True,
    "system_type_detail": False,
    "number_of_nodes": True, "host_processor_model_name": True, "host_processors_per_node": True,
    "host_processor_core_count": True, "host_processor_frequency": False, "host_processor_caches": False,
    "host_processor_interconnect": False, "host_memory_capacity": True, "host_memory_configuration": True,
    "host_storage_capacity": True, "host_storage_type": True, "host_networking": True, "host_networking_topology": True,
    "host_network_card_count": True, "accelerators_per_node": True, "accelerator_model_name": True,
    "accelerator_memory_capacity": True, "accelerator_memory_configuration": True, "accelerator_frequency": False,
    "accelerator_host_interconnect": True, "accelerator_interconnect": True, "accelerator_interconnect_topology": False,
    "accelerator_on-chip_memories": False, "cooling": True, "framework": True, "operating_system": True,
    "other_software_stack": True, "hw_notes": False, "sw_notes": False,
}
