-- wrk: each connection asks again as soon as it is answered. Argument: the bearer token.
-- Prints one line of JSON.
function init(arguments)
  wrk.headers["authorization"] = "Bearer " .. arguments[1]
end

function done(summary, latency)
  local e = summary.errors
  io.write(('{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f,"max":%f}\n'):format(
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
