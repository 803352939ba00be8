"""IANA's keywords for the protocols above IP.

Source: the IANA registry "Assigned Internet Protocol Numbers".
"""

_KEYWORDS = (
    # 0
    "HOPOPT ICMP IGMP GGP IPv4 ST TCP CBT EGP IGP BBN-RCC-MON NVP-II PUP ARGUS EMCON XNET "
    # 16
    "CHAOS UDP MUX DCN-MEAS HMP PRM XNS-IDP TRUNK-1 TRUNK-2 LEAF-1 LEAF-2 RDP IRTP ISO-TP4 "
    "NETBLT MFE-NSP "
    # 32
    "MERIT-INP DCCP 3PC IDPR XTP DDP IDPR-CMTP TP++ IL IPv6 SDRP IPv6-Route IPv6-Frag IDRP "
    "RSVP GRE "
    # 48
    "DSR BNA ESP AH I-NLSP SWIPE NARP MOBILE TLSP SKIP IPv6-ICMP IPv6-NoNxt IPv6-Opts 61 CFTP 63 "
    # 64
    "SAT-EXPAK KRYPTOLAN RVD IPPC 68 SAT-MON VISA IPCV CPNX CPHB WSN PVP BR-SAT-MON "
    "SUN-ND WB-MON WB-EXPAK "
    # 80
    "ISO-IP VMTP SECURE-VMTP VINES IPTM NSFNET-IGP DGP TCF EIGRP OSPFIGP Sprite-RPC LARP MTP "
    "AX.25 IPIP MICP "
    # 96
    "SCC-SP ETHERIP ENCAP 99 GMTP IFMP PNNI PIM ARIS SCPS QNX A/N IPComp SNP "
    "Compaq-Peer IPX-in-IP "
    # 112
    "VRRP PGM 114 L2TP DDX IATP STP SRP UTI SMP SM PTP ISIS-over-IPv4 FIRE CRTP CRUDP "
    # 128
    "SSCOPMCE IPLT SPS PIPE SCTP FC RSVP-E2E-IGNORE Mobility-Header UDPLite MPLS-in-IP "
    "manet HIP Shim6 WESP ROHC Ethernet AGGFRAG NSH Homa"
).split()


def keyword(number: int) -> str:
    """Return IANA's keyword of a protocol number, or the number as text if it has none."""
    return _KEYWORDS[number] if number < len(_KEYWORDS) else str(number)
