-- Evaluates one of ten segments for users at random, of the first USERS.
local threads = 0
local headers

function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end

function init()
    math.randomseed(os.time() + seed)
    users = tonumber(os.getenv("USERS"))
    headers = {
        ["Authorization"] = "Bearer " .. os.getenv("KEY"),
        ["Content-Type"] = "application/json",
    }
end

function request()
    local body = '{"context": {"targetingKey": "' .. math.random(1, users) .. '"}}'
    local path = "/ofrep/v1/evaluate/flags/SEG_" .. math.random(1, 10)
    return wrk.format("POST", path, headers, body)
end
