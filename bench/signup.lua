-- wrk: every request signs another tenant up. Argument: a word that no other round uses.
-- Prints one line of JSON.
local body = '{"email":"%s-%d@example.com","password":"correct horse battery staple","tenant_name":"Bench %s %d"}'
local round, n = "r", 0

function init(arguments)
  round = arguments[1]
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
end

function request()
  n = n + 1
  return wrk.format(nil, nil, nil, body:format(round, n, round, n))
end

function done(summary, latency)
  local e = summary.errors
  io.write(('{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f,"max":%f}\n'):format(
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
