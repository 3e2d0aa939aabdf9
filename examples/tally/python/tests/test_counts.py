import unittest

from tally_report.counts import BadCounts, Counts


class ParseTest(unittest.TestCase):
    def test_reads_what_tally_prints(self):
        counts = Counts.parse('{"total": 3, "distinct": 2, "top": [{"word": "a", "count": 2}]}')
        self.assertEqual(counts, Counts(3, 2, (("a", 2),)))

    def test_refuses_what_is_not_json(self):
        with self.assertRaisesRegex(BadCounts, "not JSON"):
            Counts.parse("total 3")

    def test_names_the_missing_field(self):
        with self.assertRaisesRegex(BadCounts, "distinct"):
            Counts.parse('{"total": 3, "top": []}')

    def test_refuses_a_top_that_is_more_than_all(self):
        with self.assertRaisesRegex(BadCounts, "more than all"):
            Counts.parse('{"total": 1, "distinct": 1, "top": [{"word": "a", "count": 2}]}')


class ShareTest(unittest.TestCase):
    def test_is_in_percent(self):
        self.assertEqual(Counts(8, 4, ()).share(2), 25.0)

    def test_of_nothing_is_nothing(self):
        self.assertEqual(Counts(0, 0, ()).share(0), 0.0)
