-- createRecord: each request takes the next account of the file named in BENCH_TOKENS (lines: did <TAB> access token).
local accounts, next_account, count = {}, 0, 0

function init(args)
  for line in io.lines(os.getenv("BENCH_TOKENS")) do
    local did, token = line:match("^(%S+)\t(%S+)$")
    accounts[#accounts + 1] = { did = did, token = token }
  end
  -- Threads begin at different accounts.
  next_account = tonumber(tostring({}):match("0x(%x+)"), 16) % #accounts
end

function request()
  next_account = next_account % #accounts + 1
  count = count + 1
  local account = accounts[next_account]
  local body = string.format(
    '{"repo":"%s","collection":"app.bsky.feed.post","record":{"$type":"app.bsky.feed.post","text":"A post of the ordinary length, number %d, that says nothing in particular but takes its room.","createdAt":"2026-01-01T00:00:00.000Z","langs":["en"]}}',
    account.did, count)
  return wrk.format("POST", "/xrpc/com.atproto.repo.createRecord",
    { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. account.token }, body)
end
