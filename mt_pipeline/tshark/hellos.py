"""Has tshark read hellos of TLS, QUIC and HTTP on ports that belong to another protocol.

`hellos.lua` does it, and says how. A tshark without Lua ignores it, and asks the protocol of the
port first.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute

SCRIPT = Path(__file__).with_suffix(".lua")

OPTIONS = ("-X", f"lua_script:{SCRIPT}")
"""Of a tshark that runs the script."""

VERSION = SCRIPT.read_text()
"""What documents depend on."""

_GATES = (":mt_hellos_tcp", ":mt_hellos_udp")


def without_gates(protocols: pa.Array) -> pa.Array:
    """Remove the script's own layers from values of `frame.protocols`."""
    for gate in _GATES:
        protocols = pyarrow.compute.replace_substring(protocols, gate, "")
    return protocols
