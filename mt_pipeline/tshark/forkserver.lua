-- tshark runs this when its dissectors are set up. It stays here and forks for each line that it reads; a fork goes on as a tshark does that has just started.
--
-- A line has numbers: the client's process, its descriptors of capture, output, errors and end, and the descriptor that a fork is to have the capture under.
-- The answer is `ready` at the beginning, then for each line the process of the fork, 0 if there is none. When a fork has ended,
-- its `end` is told how: `exited` or `killed`, and the status or signal. When nobody is left who could write a line, all forks are killed.

local has_posix, unistd = pcall(require, "posix.unistd")
if not has_posix then
  os.exit(1)
end
local fcntl, poll, signal = require "posix.fcntl", require "posix.poll", require "posix.signal"
local wait = require "posix.sys.wait".wait

local forks = {} -- what tells that a fork has ended -> its process, and who wants to know

local function opened(client, descriptor, flags)
  return assert(fcntl.open("/proc/" .. client .. "/fd/" .. descriptor, flags))
end

-- Returns the process of the fork; in the fork itself 0.
local function fork(client, capture, output, errors, ended, place)
  capture, output = opened(client, capture, fcntl.O_RDONLY), opened(client, output, fcntl.O_WRONLY)
  errors, ended = opened(client, errors, fcntl.O_WRONLY), opened(client, ended, fcntl.O_WRONLY)
  local over, alive = unistd.pipe() -- the system closes `alive` when the fork has ended
  local pid = assert(unistd.fork())
  if pid == 0 then
    unistd.close(over)
    unistd.close(ended)
    for other, of in pairs(forks) do
      unistd.close(other)
      unistd.close(of.ended)
    end
    unistd.dup2(fcntl.open("/dev/null", fcntl.O_RDONLY), 0)
    unistd.dup2(output, 1)
    unistd.dup2(errors, 2)
    unistd.dup2(capture, tonumber(place))
  else
    forks[over] = { pid = pid, ended = ended }
    unistd.close(alive)
  end
  for _, descriptor in ipairs { capture, output, errors } do
    unistd.close(descriptor)
  end
  return pid
end

local function bury(over)
  local of = forks[over]
  local _, how, status = wait(of.pid)
  unistd.write(of.ended, how .. " " .. status .. "\n")
  unistd.close(of.ended)
  unistd.close(over)
  forks[over] = nil
end

unistd.write(1, "ready\n")
while true do
  local watched = { [0] = { events = { IN = true } } }
  for over in pairs(forks) do
    watched[over] = { events = { IN = true } }
  end
  poll.poll(watched)
  for over, seen in pairs(watched) do
    if over ~= 0 and next(seen.revents) and (seen.revents.HUP or seen.revents.IN) then
      bury(over)
    end
  end
  if watched[0].revents.IN or watched[0].revents.HUP then
    local line = unistd.read(0, 4096)
    if not line or line == "" then
      for _, of in pairs(forks) do
        signal.kill(of.pid, signal.SIGKILL)
      end
      unistd._exit(0)
    end
    local made, pid = pcall(fork, line:match("(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)"))
    if made and pid == 0 then
      return
    end
    unistd.write(1, (made and pid or 0) .. "\n")
  end
end
