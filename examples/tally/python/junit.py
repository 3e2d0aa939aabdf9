"""Runs the unittest suite of a directory and writes a JUnit report: junit.py TESTS REPORT.xml

The standard library has no JUnit output, and this project wants nothing but the standard library.
"""

import sys
import time
import unittest
from xml.etree import ElementTree


class JUnitResult(unittest.TextTestResult):
    """Keeps what happened to each test, for the report."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []
        self._case = None

    def startTest(self, test):
        super().startTest(test)
        self._case = ElementTree.Element("testcase")
        class_name, _, name = test.id().rpartition(".")
        self._case.set("classname", class_name)
        self._case.set("name", name)
        self._started = time.monotonic()

    def stopTest(self, test):
        self._case.set("time", f"{time.monotonic() - self._started:.3f}")
        self.cases.append(self._case)
        self._case = None
        super().stopTest(test)

    def _note(self, test, kind, message, detail=""):
        case = self._case
        if case is None:  # what prepares a class or a module failed; no test was started
            case = ElementTree.Element("testcase", classname=test.id(), name=kind)
            self.cases.append(case)
        ElementTree.SubElement(case, kind, message=message).text = detail

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failure", str(err[1]), self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "error", repr(err[1]), self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def write(self, path):
        suite = ElementTree.Element("testsuite", name="tally_report", tests=str(self.testsRun))
        suite.set("failures", str(len(self.failures)))
        suite.set("errors", str(len(self.errors)))
        suite.set("skipped", str(len(self.skipped)))
        suite.extend(self.cases)
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main(tests, report):
    suite = unittest.defaultTestLoader.discover(tests, top_level_dir=".")
    result = unittest.TextTestRunner(verbosity=2, resultclass=JUnitResult).run(suite)
    result.write(report)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
