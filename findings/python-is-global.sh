#!/usr/bin/env bash
# Python 3.11.7 and 3.12.1: `ipaddress.ip_address(x).is_global` is true for addresses that no public server has, among them
# those by which an IPv6 network reaches its own IPv4 hosts.
#
# The property is the absence from IANA's tables of special addresses, in the state of the release. Multicast and
# site-local addresses have properties of their own, and an address with an IPv4 address inside (NAT64 of 10.0.0.1) is
# judged by its outer prefix alone. A guard against requests to internal addresses that asks
# `is_global`, or `not is_private`, lets them through.
#
# Expected: False for all. Seen: True for all. Exits 1 if that changes. It needs no package.
set -euo pipefail
python3 - <<'PYTHON'
import sys
from ipaddress import ip_address

ADDRESSES = {
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "fec0::1": "site-local",
    "64:ff9b::a00:1": "NAT64 of 10.0.0.1",
}
found = {text: ip_address(text).is_global for text in ADDRESSES}
for text, kind in ADDRESSES.items():
    print(f"{text:<16} {kind:<18} is_global {found[text]}")
sys.exit(0 if all(found.values()) else 1)
PYTHON
# Seen:
#   224.0.0.1        multicast          is_global True
#   ff02::1          multicast          is_global True
#   fec0::1          site-local         is_global True
#   64:ff9b::a00:1   NAT64 of 10.0.0.1  is_global True
