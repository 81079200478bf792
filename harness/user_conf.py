"""Check a user.conf before LoadGen reads it: LoadGen ignores a key it does not know, so a typo would pass unseen."""

from __future__ import annotations

from pathlib import Path

from ireeperf.errors import ConfigError, MissingFileError

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream", "*")
# what TestSettings::FromConfig of LoadGen 5.1.1 looks up (test_settings_internal.cc), less what a user may not set:
# the seeds, test05 and accuracy_log_probability are read from the embedded mlperf.conf only, `mode` is --mode
KEYS = frozenset({
    "use_token_latencies", "ttft_latency", "tpot_latency", "infer_token_latencies", "token_latency_scaling_factor",
    "target_latency_percentile", "samples_per_query", "target_latency", "performance_issue_unique", "performance_issue_same",
    "performance_issue_same_index", "sample_concatenate_permutation", "coalesce_queries", "max_async_queries", "min_duration",
    "max_duration", "min_query_count", "max_query_count", "performance_sample_count_override", "target_qps", "print_timestamps",
    "accuracy_log_rng_seed", "accuracy_log_sampling_target"})


def check(path: Path, model: str, scenario: str) -> None:
    """ConfigError names the first line that LoadGen would refuse or ignore; MissingFileError when there is no file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise MissingFileError(f"user.conf {path} does not exist; give LoadGen's settings for model key {model!r} with "
                               "--user-conf") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read user.conf {path}: {error}") from error
    used = 0
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if text:
            used += _applies(text, f"{path}:{number}", model, scenario)
    if not used:
        raise ConfigError(f"no line of {path} is for {model}.{scenario}; it would leave LoadGen's defaults in force")


def _applies(text: str, where: str, model: str, scenario: str) -> bool:
    """Whether `model.scenario.key = number` is for this run."""
    words = text.split()
    parts = words[0].split(".")
    if len(words) != 3 or words[1] != "=" or len(parts) != 3:
        raise ConfigError(f"{where}: {text!r} is not `model.scenario.key = number` with spaces around `=`")
    if parts[1] not in SCENARIOS:
        raise ConfigError(f"{where}: scenario {parts[1]!r}; one of {', '.join(SCENARIOS)}")
    if parts[2] not in KEYS:
        raise ConfigError(f"{where}: LoadGen takes no key {parts[2]!r} from a user.conf; it takes {', '.join(sorted(KEYS))}")
    try:
        float(words[2])
    except ValueError:
        raise ConfigError(f"{where}: value {words[2]!r} is not a number") from None
    return parts[0] in (model, "*") and parts[1] in (scenario, "*")
