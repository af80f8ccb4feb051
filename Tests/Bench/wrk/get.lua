-- GET of the paths in the file named in BENCH_PATHS, one after the other.
local paths, position = {}, 0

function init(args)
  for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
  position = tonumber(tostring({}):match("0x(%x+)"), 16) % #paths
end

function request()
  position = position % #paths + 1
  return wrk.format("GET", paths[position])
end
