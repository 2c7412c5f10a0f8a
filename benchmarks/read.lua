-- Asks for the segments of users at random, of the first USERS.
local threads = 0
local headers

function setup(thread)
    threads = threads + 1
    thread:set("seed", threads)
end

function init()
    math.randomseed(os.time() + seed)
    users = tonumber(os.getenv("USERS"))
    headers = {["Authorization"] = "Bearer " .. os.getenv("KEY")}
end

function request()
    return wrk.format("GET", "/api/v1/users/" .. math.random(1, users) .. "/segments", headers)
end
