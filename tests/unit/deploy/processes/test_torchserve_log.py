"""TorchServe's logs are few and bounded, and a user's own configuration stays.

That Java takes it and workers' tracebacks are in it: tests/e2e/test_supervisor_faults.py,
test_failing_starts.py.
"""

from xml.etree import ElementTree

from marloft.deploy.processes.torchserve_log import LOG_CONFIG_NAME, log_config, with_log_config

# Of TorchServe's own configuration.
THEIRS = {"ACCESS_LOG", "MODEL_LOG", "MODEL_METRICS", "TS_METRICS", "io.netty", "org.apache"}


def test_every_file_has_a_size_and_a_count() -> None:
    found = ElementTree.fromstring(log_config()).findall("Appenders/RollingFile")
    assert [each.attrib["name"] for each in found] == ["model_log", "ts_log"]
    for each in found:
        name = each.attrib["name"]
        assert each.attrib["fileName"] == f"${{env:LOG_LOCATION}}/{name}.log"
        size, count = each.find("SizeBasedTriggeringPolicy"), each.find("DefaultRolloverStrategy")
        assert size is not None and size.attrib == {"size": "10 MB"}
        assert count is not None and count.attrib == {"max": "4"}
        assert "%i" in each.attrib["filePattern"]


def test_every_logger_of_torchserve_has_its_level() -> None:
    found = ElementTree.fromstring(log_config()).findall("Loggers/Logger")
    levels = {each.attrib["name"]: each.attrib["level"] for each in found}
    assert levels.keys() == THEIRS
    assert {name for name, level in levels.items() if level == "off"} == {
        *("ACCESS_LOG", "MODEL_METRICS", "TS_METRICS", "org.apache")
    }
    assert levels["MODEL_LOG"] == "info", "why workers die is read from it"


def test_console_has_errors_alone() -> None:
    (console,) = ElementTree.fromstring(log_config()).findall("Appenders/Console")
    threshold = console.find("ThresholdFilter")
    assert threshold is not None and threshold.attrib == {"level": "error"}


def test_java_gets_our_words_after_the_projects() -> None:
    assert with_log_config("-Xmx1g  -Xss1m", "../log").split() == [
        "-Xmx1g",
        "-Xss1m",
        f"-Dlog4j.configurationFile={LOG_CONFIG_NAME}",
        "-XX:ErrorFile=../log/hs_err_pid%p.log",
    ]


def test_users_own_configuration_stays() -> None:
    own = "-Dlog4j.configurationFile=mine.xml -XX:ErrorFile=/tmp/e"
    assert with_log_config(own, "../log") == own
