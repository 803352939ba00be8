-- Hellos of TLS, QUIC and DTLS, and first lines of HTTP, come before the protocol of the port.
--
-- tshark asks the dissector of a port first and its heuristics last, so TLS on port 8080 is broken
-- HTTP. Its preferences put all heuristics first, and weak ones then take packets of others. Here
-- only what is certain comes first. tshark's own heuristics dissect it, and name the stream.
--
-- TCP: a gate becomes the dissector of each connection to a port with a protocol. It refuses all
-- but hellos, and tshark goes on as without it. UDP: a gate takes the place of the dissector of
-- each port, calls it for all but hellos, and refuses what that refuses.

local tcp_gate = Proto("mt_hellos_tcp", "Hellos before the protocols of TCP ports")
local udp_gate = Proto("mt_hellos_udp", "Hellos before the protocols of UDP ports")
local tcp_ports, udp_ports = DissectorTable.get("tcp.port"), DissectorTable.get("udp.port")
local try_heuristics = DissectorTable.try_heuristics
local HTTP = tostring(Dissector.get("http"))

-- TCP port -> name of its protocol, looked up when a packet has the port; false if it has none.
local protocols = setmetatable({}, {
  __index = function(known, port)
    local dissector = tcp_ports:get_dissector(port)
    known[port] = dissector and tostring(dissector) or false
    return known[port]
  end,
})
local dissectors = {} -- UDP port -> its dissector
-- Length of what nothing dissected: tshark calls `data` for all that a dissector refuses.
local undissected = Field.new("data.len")
local frame, refused = 0, 0 -- the last frame with refusals, and their number

local function is_http(tvb, pinfo)
  if protocols[pinfo.src_port] == HTTP or protocols[pinfo.dst_port] == HTTP then
    return false -- comes to it anyway, and its port says more: IPP, DAAP
  end
  local line = tvb:raw(0, math.min(tvb:len(), 2048)):match("^[^\r\n]+")
  return line:find("^%u+ %S+ HTTP/1%.[01]$") or line:find("^HTTP/1%.[01] %d%d%d")
end

local function is_tcp_hello(tvb, pinfo)
  if tvb:len() < 12 then
    return false
  end
  local first = tvb:raw(0, 1)
  if first == "\22" then -- ClientHello or ServerHello, shorter than 64 KiB
    return tvb:raw(0, 12):find("^\22\3...[\1\2]%z..\3")
  end
  return first >= "A" and first <= "Z" and is_http(tvb, pinfo)
end

local function is_quic(tvb)
  local first, version = tvb(0, 1):uint(), tvb(1, 4):uint()
  if first >= 0xc0 then -- a long header of QUIC 1 or 2, of a draft, or of Google's Q046 to T051
    return tvb(5, 1):uint() <= 0x50
      and (version == 1 or version == 0x6b3343cf or version >= 0xff000000
        or version >= 0x51303436 and version <= 0x54303531)
  end
  return first % 16 >= 8 and tvb(9, 2):uint() == 0x5130 -- Google's Q043 and earlier
end

local function is_udp_hello(tvb, length)
  return length >= 1000 and is_quic(tvb)
    or length >= 60 and tvb:raw(0, 1) == "\22"
      and tvb:raw(0, 14):find("^\22\254.%z%z........\1") -- ClientHello of DTLS
end

-- Calls the dissector of the port. Returns what it dissected, 0 if it refuses.
local function dissected(tvb, length, pinfo, tree)
  local used = dissectors[pinfo.match]:call(tvb, pinfo, tree)
  if used == length then
    local lengths = { undissected() }
    local before = frame == pinfo.number and refused or 0
    if #lengths > before and lengths[#lengths].value == length then
      frame, refused = pinfo.number, #lengths
      return 0
    end
  end
  return used
end

function tcp_gate.dissector(tvb, pinfo, tree)
  if not is_tcp_hello(tvb, pinfo) then
    return 0
  end
  pinfo.can_desegment = 2 -- as TCP set it: each dissector on the way takes one off
  return try_heuristics("tcp", tvb, pinfo, tree) and tvb:len() or 0
end

function udp_gate.dissector(tvb, pinfo, tree)
  local length = tvb:len()
  if is_udp_hello(tvb, length) and try_heuristics("udp", tvb, pinfo, tree) then
    return length
  end
  return dissected(tvb, length, pinfo, tree)
end

for port = 1, 65535 do
  dissectors[port] = udp_ports:get_dissector(port)
  if dissectors[port] then
    udp_ports:add(port, udp_gate)
  end
end

-- Each SYN is a finding of tshark's expert. To listen for these is cheaper than for all of TCP.
local syns = Listener.new("expert", "tcp.connection.syn")
function syns.packet(pinfo)
  if protocols[pinfo.src_port] or protocols[pinfo.dst_port] then
    pinfo.conversation = tcp_gate
  end
end
