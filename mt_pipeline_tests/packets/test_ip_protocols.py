"""Keywords of the protocols above IP."""

import pytest

from mt_pipeline.packets.ip_protocols import keyword


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *(
            (0, "HOPOPT"),
            (1, "ICMP"),
            (2, "IGMP"),
            (4, "IPv4"),
            (6, "TCP"),
            (8, "EGP"),
            (17, "UDP"),
            (27, "RDP"),
            (33, "DCCP"),
            (36, "XTP"),
        ),
        *(
            (41, "IPv6"),
            (43, "IPv6-Route"),
            (44, "IPv6-Frag"),
            (46, "RSVP"),
            (47, "GRE"),
            (50, "ESP"),
            (51, "AH"),
            (55, "MOBILE"),
        ),
        *(
            (58, "IPv6-ICMP"),
            (59, "IPv6-NoNxt"),
            (60, "IPv6-Opts"),
            (73, "CPHB"),
            (88, "EIGRP"),
            (89, "OSPFIGP"),
            (94, "IPIP"),
            (97, "ETHERIP"),
        ),
        *(
            (103, "PIM"),
            (108, "IPComp"),
            (112, "VRRP"),
            (115, "L2TP"),
            (121, "SMP"),
            (124, "ISIS-over-IPv4"),
            (132, "SCTP"),
            (133, "FC"),
        ),
        *(
            (135, "Mobility-Header"),
            (136, "UDPLite"),
            (137, "MPLS-in-IP"),
            (139, "HIP"),
            (141, "WESP"),
            (143, "Ethernet"),
            (145, "NSH"),
        ),
    ],
)
def test_a_number_has_the_keyword_of_iana(number: int, expected: str):
    assert keyword(number) == expected


@pytest.mark.parametrize("number", [61, 63, 68, 99, 114, 200, 253, 254, 255])
def test_a_number_without_a_keyword_is_said_as_it_is(number: int):
    assert keyword(number) == str(number)


def test_no_two_numbers_share_a_keyword():
    assert len({keyword(number).lower() for number in range(256)}) == 256
