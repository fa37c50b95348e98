-- PUT of a value of 100 bytes under a key at random.
dofile(os.getenv("SCRIPTS") .. "/common.lua")

function init()
   local headers = {["Content-Type"] = "application/json"}
   prepare(function(path, key)
      local start = '"' .. key .. "-"
      return wrk.format("PUT", path, headers, start .. string.rep("y", 99 - #start) .. '"')
   end)
end
