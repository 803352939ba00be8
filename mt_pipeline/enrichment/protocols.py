"""Applications that a protocol says by itself, where neither a name nor an address says more.

Protocols that carry any application (TLS, QUIC, HTTP, SCTP …) are left out, and so are those
without IP.
"""

from functools import cache

import pyarrow as pa

SCHEMA = pa.schema(
    [("protocol", pa.string()), ("app_tag", pa.string()), ("app_category_tag", pa.string())]
)

_BY_CATEGORY = {
    "business": "ipp kerberos ldap=ldap,cldap lpd tacacs=tacplus radius diameter",
    "database": "cassandra=cql couchbase kafka memcache mongodb=mongo mysql oracle=tns "
    "postgresql=pgsql redis=resp sql-server=tds",
    "device-iot": "amqp bacnet=bacnet,bacapp coap dnp3 ethernet-ip=enip,cip hislip iec-104="
    "iec60870_104,iec60870_asdu knx=kip modbus=modbus,mbtcp mqtt=mqtt,mqttsn opc-ua=opcua "
    "s7comm artnet",
    "file-sharing": "afp=afp,dsi bittorrent=bittorrent,bt-dht,bt-utp dropbox=db-lsp,db-lsp-disc "
    "ftp=ftp,ftp-data git iscsi nfs=nfs,mount,portmap rsync smb=smb,smb2,nbss tftp",
    "mail": "imap pop3=pop smtp=smtp,imf",
    "messaging": "aim irc msn=msnms skype xmpp yahoo-messenger=ymsg",
    "network": "bgp capwap=capwap,lwapp dhcp=dhcp,dhcpv6 dns eigrp gtp=gtp,gtpv2 hsrp icmp "
    "icmpv6 igmp iperf=iperf2 llmnr mdns netbios=nbns,nbdgm netflow=cflow ntp ospf pim "
    "port-control=portcontrol,nat-pmp ptp rip=rip,ripng sflow slp=srvloc snmp ssdp stun="
    "stun,classicstun,turnchannel syslog time=time,daytime vrrp whois",
    "remote-desktop": "rdp=rdp,rdpudp spice ssh telnet vnc x11 xdmcp",
    "streaming-media": "rtmp=rtmpt rtsp",
    "voip": "h323=h225,h245 iax2 mgcp rtp=rtp,rtcp,zrtp sip",
    "vpn-and-proxy": "gre ipsec=isakmp,esp,ah,udpencap l2tp openvpn pptp socks teredo wireguard=wg",
    "reference": "finger gopher nntp",
}
"""Applications by category, each with tshark's protocols where these have other names."""


@cache
def applications() -> pa.Table:
    """Return the application of each protocol that says one, with SCHEMA."""
    rows = []
    for category, text in _BY_CATEGORY.items():
        for entry in text.split():
            app, _, protocols = entry.partition("=")
            rows += [(protocol, app, category) for protocol in (protocols or app).split(",")]
    return pa.table(list(zip(*rows, strict=True)), schema=SCHEMA)
