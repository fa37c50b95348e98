-- PUT of a value of 100 bytes under a key at random.
dofile(os.getenv("SCRIPTS") .. "/common.lua")

local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local function value()
   local text = {}
   for place = 1, 98 do
      local letter = math.random(1, 64)
      text[place] = letters:sub(letter, letter)
   end
   return '"' .. table.concat(text) .. '"'
end

function init()
   local headers = {["Content-Type"] = "application/json"}
   prepare(function(path) return wrk.format("PUT", path, headers, value()) end)
end
