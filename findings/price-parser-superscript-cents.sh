#!/usr/bin/env bash
# price-parser 0.5.1 (Python 3.11, Unicode 14.0): a price with superscript cents, `12⁹⁹ €` as shops print it, is read as 12,
# and as 1299 if the text was normalised to NFKC before: wrong by the cents, or by a factor of a hundred. No error either way.
#
# NFKC replaces each superscript digit by the digit itself and adds no separator. Texts are often normalised to NFKC at the
# door, also because it turns no-break spaces into spaces. The parser knows ASCII digits alone, so without NFKC it stops
# before the cents. Babel 2.19.0 refuses the text, and reads 1299 after NFKC.
#
# Expected: 12.99, or an error. Seen: 12 and 1299. Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'price-parser==0.5.1' 'babel==2.19.0'
cat > "$work/run.py" <<'PYTHON'
import sys
import unicodedata
from decimal import Decimal

from babel.numbers import NumberFormatError, parse_decimal
from price_parser import Price

text = "12⁹⁹ €"
normal = unicodedata.normalize("NFKC", text)
print("NFKC:", normal)
plain, after = Price.fromstring(text).amount, Price.fromstring(normal).amount
print("price-parser:", plain, "and after NFKC", after)


def babel(number):
    try:
        return parse_decimal(number, locale="de")
    except NumberFormatError:
        return "refused"


refused, read = babel("12⁹⁹"), babel(unicodedata.normalize("NFKC", "12⁹⁹"))
print("babel:", refused, "and after NFKC", read)
sys.exit((normal, plain, after, refused, read) != ("1299 €", Decimal(12), Decimal(1299), "refused", Decimal(1299)))
PYTHON
"$work/venv/bin/python" "$work/run.py"
# Seen:
#   NFKC: 1299 €
#   price-parser: 12 and after NFKC 1299
#   babel: refused and after NFKC 1299
