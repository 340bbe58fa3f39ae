-- wrk: every request logs in. Argument: the address.
-- Prints one line of JSON.
function init(arguments)
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
  wrk.body = ('{"email":"%s","password":"correct horse battery staple"}'):format(arguments[1])
end

function done(summary, latency)
  local e = summary.errors
  io.write(('{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f,"max":%f}\n'):format(
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
