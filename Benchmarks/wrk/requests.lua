-- Sends the requests described by a file, round and round, and prints one line of JSON for load.py.
--
--   wrk … -s requests.lua http://127.0.0.1:8090 -- METHOD PATH KIND FILE
--
-- FILE has one request a line. KIND says what a line is: a "token" for the Authorization header, or a JSON "body".

local prepared, position = {}, 0

function init(arguments)
    local method, path, kind, file = arguments[1], arguments[2], arguments[3], arguments[4]
    for line in io.lines(file) do
        local headers, body = {}, nil
        if kind == "token" then
            headers["Authorization"] = "Bearer " .. line
        else
            headers["Content-Type"] = "application/json"
            body = line
        end
        prepared[#prepared + 1] = wrk.format(method, path, headers, body)
    end
end

function request()
    position = position % #prepared + 1
    return prepared[position]
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'result {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
