-- One turn of the sweep: moves on what is due, pushes hints that must have got lost. Its cost does not depend on how
-- many runs are live or finished, only on how many are due.
-- node, most, lease_s (who sweeps), overdue_s (age of a hint that should have been taken), dispatch_patience_s,
-- settle_patience_s, poisoned_after
-- answer: {said = 'ok' | 'other' | 'safe', moved = n, expired[], lost[]}: the last two are ended by the caller
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end
local who = redis.call('GET', key('sweeper'))
if who and who ~= A.node then return cjson.encode({said = 'other', who = who}) end
redis.call('SET', key('sweeper'), A.node, 'PX', math.floor(A.lease_s * 1000))
local said = {said = 'ok', moved = 0, expired = {}, lost = {}}

local function look_again(id, in_s) redis.call('ZADD', key('due'), num(now + in_s), id) end

local function waits_for_its_moment(id, state, r)
  local moment = tonumber(r[2] ~= '' and r[2] or 0)
  if moment > at then look_again(id, math.min(moment - at, 3600)); return end
  if state == 'PENDING' and r[4] and r[4] ~= '' then
    push(id, r[3], r[4])
    look_again(id, A.dispatch_patience_s)
  else
    move(id, state, 'QUEUED', at, 'sweep', 'its moment has come', nil)
    enqueue(id, now)
  end
  said.moved = said.moved + 1
end

local function lease_ended(id, state, r)
  if tonumber(r[7]) > now then redis.call('ZADD', key('due'), r[7], id); return end
  if r[14] ~= '1' or tonumber(r[9] or 0) + 1 >= A.poisoned_after then
    said.lost[#said.lost + 1] = id
    look_again(id, 5)
    return
  end
  redis.call('SREM', key('node', r[8], 'live'), id)
  redis.call('HINCRBY', key('run', id), 'lost', 1)
  redis.call('HSET', key('run', id), 'lease_until', '')
  move(id, state, 'QUEUED', at, 'sweep', r[8] .. ' stopped renewing its lease', token(r[10], r[11]))
  enqueue(id, now)
  said.moved = said.moved + 1
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('due'), '-inf', num(now), 'LIMIT', 0, A.most)) do
  local r = get(id, 'state', 'not_before', 'dispatch_queue', 'dispatch_hint', 'expires_due', 'dispatch', 'lease_until',
    'claim_node', 'lost', 'attempt', 'claim', 'hint', 'queue', 'rerun_lost')
  local state = r[1]
  if not state then
    redis.call('ZREM', key('due'), id)
  elseif FINAL[state] then
    if redis.call('ZSCORE', key('unsettled'), id) then
      push(id, r[13], r[12])
      look_again(id, A.settle_patience_s)
      said.moved = said.moved + 1
    else
      redis.call('ZREM', key('due'), id)
    end
  elseif r[5] and r[5] ~= '' and tonumber(r[5]) <= now and (state == 'PENDING' or state == 'QUEUED') then
    said.expired[#said.expired + 1] = id
    look_again(id, 2)
  elseif state == 'PENDING' or state == 'RETRY' then
    waits_for_its_moment(id, state, r)
  elseif state == 'SYNCING' and r[6] and r[6] ~= '' then
    redis.call('HSET', key('run', id), 'dispatch', '')
    move(id, 'SYNCING', 'PENDING', at, 'sweep', 'its dispatch died', nil)
    push(id, r[3], r[4])
    look_again(id, A.dispatch_patience_s)
    said.moved = said.moved + 1
  elseif state == 'QUEUED' then
    if r[5] and r[5] ~= '' then redis.call('ZADD', key('due'), r[5], id) else redis.call('ZREM', key('due'), id) end
  elseif r[7] and r[7] ~= '' then
    lease_ended(id, state, r)
  else
    redis.call('ZREM', key('due'), id)
  end
end

-- A queue that holds fewer hints than runs wait has lost some: those whose hint is oldest get a new one.
for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do
  local waiting = key('waiting', queue)
  local missing = redis.call('ZCARD', waiting) - redis.call('LLEN', queue)
  if missing > 0 then
    local oldest = redis.call('ZRANGEBYSCORE', waiting, '-inf', num(now - A.overdue_s), 'LIMIT', 0, math.min(missing, A.most))
    for _, id in ipairs(oldest) do
      redis.call('ZADD', waiting, num(now), id)
      push(id, queue, get(id, 'hint')[1])
      event(id, at, 'QUEUED', 'QUEUED', 'sweep', 'hint pushed again', nil)
      said.moved = said.moved + 1
    end
  end
end
return cjson.encode(said)
