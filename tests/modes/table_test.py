# SPDX-License-Identifier: MIT
"""The reader of the table itself: a page that lies, or is silent, must fail."""
import unittest

import table

HEAD = "| state | connect | login | send | receive | waiting | acknowledge | test |\n|---|---|---|---|---|---|---|---|\n"
ROW = "| x | `connectSuccess` | `loginSuccess` | `accepted` | `now` | `now` | `pong` | `%s` |\n"


class Table(unittest.TestCase):
    def test_reads_each_cell_as_the_set_of_its_words(self):
        rows = table.read(HEAD + ROW % "a" + (ROW % "b").replace("`accepted`", "`accepted`, `KAFKA_FAILURE`"))
        self.assertEqual(rows["a"]["send"], {"accepted"})
        self.assertEqual(rows["b"]["send"], {"accepted", "KAFKA_FAILURE"})

    def test_names_a_row_without_a_test_and_a_test_without_a_row(self):
        rows = table.read(HEAD + ROW % "a")
        self.assertEqual(table.compare(rows, {"a": 1}), [])
        self.assertEqual(len(table.compare(rows, {"a": 1, "b": 1})), 1)
        self.assertEqual(len(table.compare(rows, {})), 1)

    def test_refuses_words_that_no_outcome_has(self):
        for was, now in (("`accepted`", "`silence`"), ("`connectSuccess`", "`INVALID_CREDENTIALS`"),
                         ("`loginSuccess`", "`INVALID_CREDENTIALS`"), ("`pong`", "")):
            with self.assertRaises(table.Fault):
                table.read(HEAD + (ROW % "a").replace(was, now))

    def test_refuses_a_row_twice_or_with_a_cell_too_few(self):
        with self.assertRaises(table.Fault):
            table.read(HEAD + ROW % "a" + ROW % "a")
        with self.assertRaises(table.Fault):
            table.read(HEAD + (ROW % "a").replace("| `pong` ", ""))

    def test_tells_what_was_seen_and_not_allowed(self):
        cells = table.read(HEAD + ROW % "a")["a"]
        self.assertEqual(table.differences(cells, {"send": ["accepted"], "receive": ["now"]}), [])
        self.assertEqual(len(table.differences(cells, {"send": ["accepted", "silence"]})), 1)


if __name__ == "__main__":
    unittest.main()
