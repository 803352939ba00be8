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

-- In a fork: keeps nothing of what the others have but the files of its capture, under the descriptors that tshark expects.
local function take(files)
  for over, of in pairs(forks) do
    unistd.close(over)
    unistd.close(of.ended)
  end
  for place, file in pairs(files) do
    assert(unistd.dup2(file, place))
    unistd.close(file)
  end
end

-- Returns the process of the fork; in the fork itself 0.
local function fork(client, capture, output, errors, ended, place)
  local files = {
    [0] = assert(fcntl.open("/dev/null", fcntl.O_RDONLY)),
    [1] = opened(client, output, fcntl.O_WRONLY),
    [2] = opened(client, errors, fcntl.O_WRONLY),
    [tonumber(place)] = opened(client, capture, fcntl.O_RDONLY),
  }
  local over, alive = unistd.pipe() -- the system closes `alive` when the fork has ended
  ended = opened(client, ended, fcntl.O_WRONLY)
  local pid = assert(unistd.fork())
  forks[over] = { pid = pid, ended = ended }
  if pid == 0 then
    if not pcall(take, files) then
      unistd._exit(1)
    end
    return pid
  end
  for _, file in pairs(files) do
    unistd.close(file)
  end
  unistd.close(alive)
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
    if over ~= 0 and seen.revents.HUP then
      bury(over)
    end
  end
  local asked = watched[0].revents
  if asked.IN or asked.HUP then
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
