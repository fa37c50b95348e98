-- What both scripts share: the keys and values of Benchmarks/Support/Entries.swift, and the figures at the end.
-- The environment gives KEYS (how many keys there are) and SEED.

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

-- Prepares requests for keys at random, once, so that wrk has only to send them.
function prepare(make)
   local keys = tonumber(os.getenv("KEYS"))
   math.randomseed(tonumber(os.getenv("SEED")) * 64 + number)
   local requests = {}
   for index = 1, math.min(keys, 100000) do
      local key = math.random(0, keys - 1)
      requests[index] = make(string.format("/kv/key-%08d", key))
   end
   local count, next = #requests, 0
   request = function()
      next = next % count + 1
      return requests[next]
   end
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      "figures %d %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
