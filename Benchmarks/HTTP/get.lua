-- GET of a key at random.
dofile(os.getenv("SCRIPTS") .. "/common.lua")

function init()
   prepare(function(path) return wrk.format("GET", path) end)
end
