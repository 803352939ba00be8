-- tshark runs this after it has set up its dissectors. The script stays here and forks for each
-- line that it reads; a fork continues as a tshark that was just started.
--
-- A line has numbers: the client's process, and its descriptors of capture, output, errors and end.
-- The fork has the capture as descriptor 63. The script first writes `ready`. It answers each line
-- with `yes` and the number of the fork, or `no`. When a fork ends, `exited` or `killed` is written
-- to its `end`, with the status or signal. When nobody reads `end` any more, the fork is killed;
-- when nobody can write lines any more, all forks are killed.

local has_posix, unistd = pcall(require, "posix.unistd")
if not has_posix then
  os.exit(1)
end
local fcntl, poll, signal = require "posix.fcntl", require "posix.poll", require "posix.signal"
local wait = require "posix.sys.wait".wait
local CAPTURE = 63
local NOTHING = assert(fcntl.open("/dev/null", fcntl.O_RDONLY))

local forks = {} -- pipe that closes with a fork -> its process, and where its end is reported

local function close(files)
  for _, file in pairs(files) do
    unistd.close(file)
  end
end

-- Opens the files of the client, and a pipe that the system closes when the fork ends; nil if
-- that is impossible.
local function opened(client, capture, output, errors, ended)
  local files = {}
  local function open(as, path, flags)
    files[as] = fcntl.open(path, flags)
    return files[as]
  end
  local folder = "/proc/" .. client .. "/fd/"
  -- Nothing here waits for a pipe; a fork may, as its reads do.
  if open("capture", folder .. capture, fcntl.O_NONBLOCK)
      and fcntl.fcntl(files.capture, fcntl.F_SETFL, fcntl.O_RDONLY)
      and open("output", folder .. output, fcntl.O_WRONLY)
      and open("errors", folder .. errors, fcntl.O_WRONLY)
      and open("ended", folder .. ended, fcntl.O_WRONLY) then
    files.over, files.alive = unistd.pipe()
    if files.over then
      return files
    end
  end
  close(files)
end

-- In a fork: closes the files of all others, and puts its own where tshark expects them.
local function take(files)
  for over, of in pairs(forks) do
    unistd.close(over)
    unistd.close(of.ended)
  end
  local places = { [0] = NOTHING, [1] = files.output, [2] = files.errors }
  places[CAPTURE] = files.capture
  for place, file in pairs(places) do
    assert(unistd.dup2(file, place))
    unistd.close(file)
  end
  close { files.over, files.ended }
end

-- Returns the process of the fork, 0 in the fork itself, nil if there is none.
local function fork(line)
  local files = opened(line:match("(%d+) (%d+) (%d+) (%d+) (%d+)"))
  local pid = files and unistd.fork()
  if pid == 0 then
    if not pcall(take, files) then
      unistd._exit(1)
    end
  elseif pid then
    forks[files.over] = { pid = pid, ended = files.ended }
    close { files.capture, files.output, files.errors, files.alive }
  elseif files then
    close(files)
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

local function kill(of)
  signal.kill(of.pid, signal.SIGKILL)
end

signal.signal(signal.SIGPIPE, signal.SIG_IGN)
-- Nothing else gets this number. Should this script fail, tshark reads nothing and ends.
assert(unistd.dup2(NOTHING, CAPTURE))
unistd.write(1, "ready\n")
while true do
  local watched = { [0] = { events = { IN = true } } }
  for over, of in pairs(forks) do
    watched[over] = { events = { IN = true } }
    watched[of.ended] = { events = {} }
  end
  poll.poll(watched)
  for over, of in pairs(forks) do
    if watched[over].revents.HUP then
      bury(over)
    elseif watched[of.ended].revents.ERR then
      kill(of)
    end
  end
  local asked = watched[0].revents
  if asked.IN or asked.HUP then
    local line = unistd.read(0, 4096)
    if not line or line == "" then
      for _, of in pairs(forks) do
        kill(of)
      end
      unistd._exit(0)
    end
    local pid = fork(line)
    if pid == 0 then
      signal.signal(signal.SIGPIPE, signal.SIG_DFL)
      return
    end
    unistd.write(1, pid and "yes " .. pid .. "\n" or "no\n")
  end
end
