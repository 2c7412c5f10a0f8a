-- Sends requests of one KIND about users at random, of the first USERS, with the API key KEY.
local threads = 0
local headers

function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end

function init()
    math.randomseed(os.time() + seed)
    users = tonumber(os.getenv("USERS"))
    make = kinds[os.getenv("KIND")]
    headers = {
        ["Authorization"] = "Bearer " .. os.getenv("KEY"),
        ["Content-Type"] = "application/json",
    }
end

kinds = {}

-- Asks for the segments of a user.
function kinds.read(user)
    return wrk.format("GET", "/api/v1/users/" .. user .. "/segments", headers)
end

-- Evaluates one of ten segments for a user.
function kinds.evaluate(user)
    local body = '{"context": {"targetingKey": "' .. user .. '"}}'
    local path = "/ofrep/v1/evaluate/flags/SEG_" .. math.random(1, 10)
    return wrk.format("POST", path, headers, body)
end

-- Adds a user to one of ten segments, or removes the user.
function kinds.write(user)
    local verb = math.random(1, 2) == 1 and "add" or "remove"
    local body = '{"' .. verb .. '": ["SEG_' .. math.random(1, 10) .. '"]}'
    return wrk.format("POST", "/api/v1/users/" .. user .. "/segments", headers, body)
end

function request()
    return make(math.random(1, users))
end
