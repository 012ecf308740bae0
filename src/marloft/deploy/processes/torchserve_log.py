"""What TorchServe logs under `marloft serve`: what workers write and what goes wrong, in bounds.

Its own configuration writes five files and the console, several lines for each request.
https://pytorch.org/serve/logging.html
"""

# Passed by its name alone, since TorchServe's launcher splits `vmargs` at every space.
LOG_CONFIG_NAME = "torchserve-log4j2.xml"
_SETTING = "-Dlog4j.configurationFile="
# Each file and its older ones, which are compressed.
_MOST_MIB, _OLDER = 10, 4


def log_config() -> str:
    """Return the log4j2 configuration: `model_log.log` and `ts_log.log` in `$LOG_LOCATION`.

    `model_log.log` keeps the form that `worker_log` reads. The console has what TorchServe says
    before it ends.
    """
    appenders = "\n".join(_rolling(name) for name in ("model_log", "ts_log"))
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders>
{appenders}
    <Console name="console" target="SYSTEM_OUT">
      <ThresholdFilter level="error"/>
      <PatternLayout pattern="{_PATTERN}"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info" additivity="false">
      <RegexFilter regex="{_NOTHING_SAID}" onMatch="DENY" onMismatch="NEUTRAL"/>
      <AppenderRef ref="model_log"/>
    </Logger>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="org.apache" level="off"/>
    <Logger name="io.netty" level="error"/>
    <Root level="warn">
      <AppenderRef ref="ts_log"/>
      <AppenderRef ref="console"/>
    </Root>
  </Loggers>
</Configuration>
"""


def with_log_config(vmargs: str, crashes: str) -> str:
    """Return Java's arguments with ours; a log configuration of the user's own stays.

    Args:
        vmargs: the project's, parted by spaces.
        crashes: the folder, as Java sees it, for what the virtual machine says when it crashes.
    """
    words = vmargs.split()
    if not any(word.startswith(_SETTING) for word in words):
        words.append(f"{_SETTING}{LOG_CONFIG_NAME}")
    if not any(word.startswith("-XX:ErrorFile=") for word in words):
        words.append(f"-XX:ErrorFile={crashes}/hs_err_pid%p.log")
    return " ".join(words)


# A line for each batch, which would push out what workers said before they died.
_NOTHING_SAID = r"Backend received inference at: \d+"
_PATTERN = "%d{ISO8601} [%-5p] %t %c - %m%n"


def _rolling(name: str) -> str:
    return f"""\
    <RollingFile name="{name}" fileName="${{env:LOG_LOCATION}}/{name}.log"
                 filePattern="${{env:LOG_LOCATION}}/{name}.%i.log.gz">
      <PatternLayout pattern="{_PATTERN}"/>
      <SizeBasedTriggeringPolicy size="{_MOST_MIB} MB"/>
      <DefaultRolloverStrategy max="{_OLDER}"/>
    </RollingFile>"""
