-- The releases of runs that are not final, or that others may still follow; asked for in parts. From the newest run down,
-- so that none is passed over when runs end between two parts: what ends moves the rest down, into the next part or into
-- this one again. What is new meanwhile had its release touched a moment ago, and prune keeps what was used last.
-- upto (rank; the first part has none), most (runs looked at)
-- answer: {said = 'ok', wanted = {project -> digests[]}, upto = rank of the next part, 0 at the end} | {said = 'safe'}
local now = tick()
if guarded(now) then return '{"said":"safe"}' end
local upto = A.upto or redis.call('ZCARD', key('live'))
local from = math.max(0, upto - A.most)
local found, seen = {}, {}

local function want(ids)
  for _, id in ipairs(ids) do
    local r = redis.call('HMGET', key('run', id), 'project', 'release', 'root')
    -- The runs of a canvas share a release: one that waits for its dispatch has none of its own yet.
    if r[1] and not r[2] then r[2] = redis.call('HGET', key('root', r[3] or id), r[1]) end
    local one = r[1] and r[2] and r[2] ~= '' and r[1] .. ' ' .. r[2]
    if one and not seen[one] then
      seen[one] = true
      found[r[1]] = found[r[1]] or {}
      table.insert(found[r[1]], r[2])
    end
  end
end

if upto > 0 then want(redis.call('ZRANGE', key('live'), from, upto - 1)) end
if not A.upto then want(redis.call('ZREVRANGE', key('unsettled'), 0, A.most - 1)) end
local wanted = next(found) and cjson.encode(found) or '{}'
return '{"said":"ok","wanted":' .. wanted .. ',"upto":' .. from .. '}'
