-- Adds users at random, of the first USERS, to one of ten segments, or removes them.
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
    local verb = math.random(1, 2) == 1 and "add" or "remove"
    local body = '{"' .. verb .. '": ["SEG_' .. math.random(1, 10) .. '"]}'
    local path = "/api/v1/users/" .. math.random(1, users) .. "/segments"
    return wrk.format("POST", path, headers, body)
end
