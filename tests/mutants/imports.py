"""Mutants of imports: files, coverage, orders."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FILES, _TEST_FILES = "app/logistics/files.py", "tests/logistics/test_files.py"
_COVERAGE, _TEST_COVERAGE = "app/logistics/coverage.py", "tests/logistics/test_coverage.py"
_ORDERS, _ORDER_CHANGES = "app/logistics/orders.py", "app/logistics/order_changes.py"
_ORDER_TESTS = "tests/logistics/test_orders.py tests/logistics/test_order_changes.py"
_FIELDS = "app/logistics/fields.py"

MUTANTS = (
    Mutant(
        _FILES,
        "if not self.read or (self.bad and not self.skip_bad):",
        "if not self.read:",
        _TEST_FILES,
        "a file with a bad row is not taken",
    ),
    Mutant(
        _FILES,
        "raw = raw.removeprefix(codecs.BOM_UTF8)",
        "pass",
        _TEST_FILES,
        "a byte order mark is not a part of the first column's name",
    ),
    Mutant(
        _FILES,
        "if len(raw) > _LONGEST_LINE:",
        "if False:",
        _TEST_FILES,
        "a file without line ends is not read into memory",
    ),
    Mutant(
        _FILES,
        "line = reader.line_num + 1",
        "line = reader.line_num",
        _TEST_FILES,
        "a problem names the line on which its record begins",
    ),
    Mutant(
        _FILES,
        "first = seen.setdefault(attrgetter(*self.unique)(row), line)",
        "first = line",
        _TEST_FILES,
        "two rows with one reference are a problem",
    ),
    Mutant(
        _FILES,
        "if len(self._problems) < MOST_PROBLEMS:",
        "if True:",
        _TEST_FILES,
        "the problems that are kept are bounded",
    ),
    Mutant(
        _COVERAGE,
        "ORDER BY city, department, line DESC",
        "ORDER BY city, department, line",
        _TEST_COVERAGE,
        "of two rows for one city the later counts",
    ),
    Mutant(
        _COVERAGE,
        "AND c.city_key = logistics.place_key(asked.city) AND c.is_active",
        "AND c.city_key = logistics.place_key(asked.city)",
        _TEST_COVERAGE + " tests/commands/test_coverage.py",
        "a city that is no longer served is not offered",
    ),
    Mutant(
        _COVERAGE,
        "if len({one.carrier_city for one in matching}) > 1:",
        "if len(matching) > 1:",
        _TEST_COVERAGE,
        "two entries with one text of the portal are one place",
    ),
    Mutant(
        _COVERAGE,
        "matching = [one for one in found if one.in_department or department is None]",
        "matching = list(found)",
        _TEST_COVERAGE,
        "a city of that name in another department is another city",
    ),
    Mutant(
        _COVERAGE,
        " WHERE (c.carrier_city, c.is_active) IS DISTINCT FROM (excluded.carrier_city, excluded.is_active)\n",
        "",
        _TEST_COVERAGE + " tests/commands/test_coverage.py",
        "a row that changes nothing is counted as unchanged",
    ),
    Mutant(
        _ORDERS,
        "FROM incoming_orders ORDER BY reference\n",
        "FROM incoming_orders ORDER BY line\n",
        _ORDER_TESTS,
        "two imports of the same orders do not deadlock",
    ),
    Mutant(
        _ORDERS,
        "ORDER BY i.line",
        "ORDER BY o.id",
        _ORDER_TESTS,
        "an import returns the orders in the order of the file",
    ),
    Mutant(
        _ORDERS,
        "if order_id not in orders or orders[order_id].workspace_id != workspace_id",
        "if order_id not in orders",
        _ORDER_TESTS,
        "an order of another workspace is not changed or shown",
    ),
    Mutant(
        _ORDER_CHANGES,
        "if before[name] != value}",
        "}",
        _ORDER_TESTS,
        "a change that changes nothing publishes nothing",
    ),
    Mutant(
        _ORDER_CHANGES,
        "before = {name: done[name] if name in done else getattr(order, name) for name in wanted}",
        "before = {name: getattr(order, name) for name in wanted}",
        _ORDER_TESTS,
        "of several changes of one order each tells what the one before left",
    ),
    Mutant(
        _FIELDS,
        'return " ".join(value.split()) if isinstance(value, str) else value',
        "return value",
        "tests/logistics/test_orders.py tests/logistics/test_files.py tests/commands/test_orders.py",
        "an address is on one line",
    ),
    Mutant(
        _FIELDS,
        "name = typed.strip().lower()",
        "name = typed.strip()",
        "tests/logistics/test_carriers.py tests/logistics/test_coverage.py",
        "a carrier's name has small letters",
    ),
)
