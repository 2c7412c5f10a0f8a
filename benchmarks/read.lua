-- Asks for the segments of users at random, of the first USERS.
local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end

function init()
    math.randomseed(os.time() + seed)
    users = tonumber(os.getenv("USERS"))
end

function request()
    return wrk.format("GET", "/api/v1/users/" .. math.random(1, users) .. "/segments")
end
