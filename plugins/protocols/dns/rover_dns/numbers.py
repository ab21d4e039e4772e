"""Names of types and response codes (IANA, Domain Name System Parameters), and of operations."""

import re
from functools import lru_cache

SOA, TXT, IXFR, AXFR = 6, 16, 251, 252


def _from(first: int, names: str) -> dict[int, str]:
    return dict(enumerate(names.split(), first))


TYPES = _from(
    1,
    "A NS MD MF CNAME SOA MB MG MR NULL WKS PTR HINFO MINFO MX TXT RP AFSDB X25 ISDN RT NSAP NSAP-PTR SIG KEY PX "
    "GPOS AAAA LOC NXT EID NIMLOC SRV ATMA NAPTR KX CERT A6 DNAME SINK OPT APL DS SSHFP IPSECKEY RRSIG NSEC DNSKEY "
    "DHCID NSEC3 NSEC3PARAM TLSA SMIMEA",
)
TYPES |= _from(55, "HIP NINFO RKEY TALINK CDS CDNSKEY OPENPGPKEY CSYNC ZONEMD SVCB HTTPS DSYNC")
TYPES |= _from(99, "SPF UINFO UID GID UNSPEC NID L32 L64 LP EUI48 EUI64") | {128: "NXNAME"}
TYPES |= _from(249, "TKEY TSIG IXFR AXFR MAILB MAILA ANY URI CAA AVC DOA AMTRELAY RESINFO WALLET CLA IPN")
TYPES |= {32768: "TA", 32769: "DLV"}

_CODES = _from(
    0, "NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE DSOTYPENI"
)
_CODES |= _from(16, "BADVERS BADKEY BADTIME BADMODE BADNAME BADALG BADTRUNC BADCOOKIE")
_FINE = frozenset((0, 3))
_OPCODES = {0: "", 1: "IQUERY ", 2: "STATUS ", 4: "NOTIFY ", 5: "UPDATE "}

_LABELS = 8
_LONG = 40
_VALUE = re.compile(
    r"(?:[^0-9]*[0-9]){5}.*"  # a number, an address, a date
    r"|[0-9]+"
    r"|(?=[^0-9]*[0-9])[0-9a-f]{8,}"  # a hash
    r"|.*[^a-z0-9_-].*"  # no host's name
)
_REVERSE = (".in-addr.arpa", ".ip6.arpa", ".ip6.int")


def type_name(number: int) -> str:
    """As in master files (RFC 3597 section 5): `AAAA`, `TYPE65280`."""
    return TYPES.get(number) or f"TYPE{number}"


def opcode_name(opcode: int) -> str:
    return _OPCODES.get(opcode, f"OPCODE{opcode}").strip() or "QUERY"


def code_name(rcode: int) -> str:
    return _CODES.get(rcode) or f"RCODE{rcode}"


def is_error(rcode: int) -> bool:
    """NXDOMAIN is an answer: search lists (resolv.conf) ask for names that do not exist all day."""
    return rcode not in _FINE


def operation_class(opcode: int, kind: int) -> str:
    """`AAAA`, `OTHER` for types that nobody has registered, `UPDATE`."""
    return _OPCODES.get(opcode, "").strip() or TYPES.get(kind, "OTHER")


@lru_cache(maxsize=4096)
def operation(opcode: int, kind: int, name: str) -> str:
    """`AAAA www.example.org`: type and name, in lower case, with `{}` for labels that are likely values.

    Of names that reverse an address only the zone is told, of a service's instance the service (RFC 6763 section
    4.1), and of long names the last eight labels.
    """
    asked = _OPCODES.get(opcode, "") + TYPES.get(kind, "OTHER")
    name = name.lower()
    for zone in _REVERSE:
        if name.endswith(zone):
            return f"{asked} {{}}{zone}"
    labels = re.split(r"(?<!\\)\.", name)
    service = next((at for at, label in enumerate(labels) if label.startswith("_")), 0)
    labels = ["{}", *labels[service:]] if service else labels
    labels = ["{}", *labels[-_LABELS:]] if len(labels) > _LABELS else labels
    named = (label if label == "{}" or not _is_value(label) else "{}" for label in labels)
    return f"{asked} {'.'.join(named) or '.'}"


def _is_value(label: str) -> bool:
    return len(label) > _LONG or bool(_VALUE.fullmatch(label))
