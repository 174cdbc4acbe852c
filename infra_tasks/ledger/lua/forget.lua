-- Forgets runs that have been exported: records, stories, results, places in indexes. One that has not ended, is not old
-- enough or is not settled stays, whoever asks.
-- runs[], history_s, total ('archived' | 'forgotten'), meta_prefix
-- answer: {said = 'ok' | 'safe', gone = n}; asked again, those that are gone are passed over
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end

local function may_go(id, state)
  local ended = FINAL[state] and redis.call('ZSCORE', key('ended'), id)
  return ended and tonumber(ended) <= now - A.history_s and not redis.call('ZSCORE', key('unsettled'), id)
end

local gone = 0
for _, id in ipairs(A.runs) do
  local r = get(id, 'state', 'idem')
  if may_go(id, r[1]) then
    total(A.total, 1)
    if r[2] ~= '' and redis.call('GET', key('idem', r[2])) == id then redis.call('DEL', key('idem', r[2])) end
    redis.call('HINCRBY', key('counts'), r[1], -1)
    redis.call('DEL', key('run', id), key('story', id), A.meta_prefix .. id)
    for _, index in ipairs({'ended', 'recent', 'ids', 'due'}) do redis.call('ZREM', key(index), id) end
    gone = gone + 1
  end
end
return cjson.encode({said = 'ok', gone = gone})
