-- One turn of the sweep: moves on what is due, pushes hints that must have got lost, forgets what is older than the
-- history. Its cost does not depend on how many runs are live or finished, only on how many are due.
-- node, most, lease_s (who sweeps), overdue_s (age of a hint that should have been taken), settle_patience_s,
-- poisoned_after, keep_s (history), queue_kept_s;
-- queue: nothing but the lost hints of this queue, whoever sweeps
-- answer: {said = 'ok' | 'other' | 'safe', moved = n, expired[], lost[]}: the last two are ended by the caller
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end
if not A.queue then
  local who = redis.call('GET', key('sweeper'))
  if who and who ~= A.node then return cjson.encode({said = 'other', who = who}) end
  redis.call('SET', key('sweeper'), A.node, 'PX', math.floor(A.lease_s * 1000))
end
local said = {said = 'ok', moved = 0, expired = {}, lost = {}}
local LONGEST_SETTLE_PAUSE_S = 600
local FORGOTTEN_A_TURN = 50
local TOLD_HINTS = 5

local function expires(id, expires_due)
  if expires_due == '' or tonumber(expires_due) > now then return false end
  said.expired[#said.expired + 1] = id
  look_at(id, now + 2)
  return true
end

-- The queue of all controls, which wait for no slot; less and less often: nobody may be there to take it.
local function settle_again(id)
  if not redis.call('ZSCORE', key('unsettled'), id) then
    redis.call('ZREM', key('due'), id)
    return
  end
  local turn = redis.call('HINCRBY', key('run', id), 'settling', 1)
  push(id, SETTLE_QUEUE, RUN)
  look_at(id, now + math.min(A.settle_patience_s * 2 ^ (turn - 1), LONGEST_SETTLE_PAUSE_S))
  said.moved = said.moved + 1
end

local function lease_ended(id, state, r)
  if tonumber(r.lease_until) > now then
    redis.call('ZADD', key('due'), r.lease_until, id)
    return
  end
  -- Before `start` answered, no command of a project's run can have begun: that is no loss to count.
  local counted = state == 'SYNCING' and 'unstarted' or 'lost'
  local poisoned = counted == 'lost' and (r.rerun_lost ~= '1' or (tonumber(r.lost) or 0) + 1 >= A.poisoned_after)
  if poisoned or r.cancel ~= '' then
    said.lost[#said.lost + 1] = id
    look_at(id, now + 5)
    return
  end
  free_slot(id, r.claim_node)
  redis.call('HINCRBY', key('run', id), counted, 1)
  put(id, 'lease_until', '', 'claim', '', 'told', '')
  move(id, state, 'QUEUED', at, 'sweep', r.claim_node .. ' stopped renewing its lease', token(r.attempt, r.claim))
  enqueue(id, now, 'QUEUED')
  said.moved = said.moved + 1
end

local NAMES = {'state', 'expires_due', 'dispatch', 'lease_until', 'claim_node', 'lost', 'attempt', 'claim', 'rerun_lost', 'cancel'}

local function due(id)
  local values, r = get(id, unpack(NAMES)), {}
  for i, name in ipairs(NAMES) do r[name] = values[i] end
  local state = r.state
  if state == '' then
    redis.call('ZREM', key('due'), id)
  elseif FINAL[state] then
    settle_again(id)
  elseif state == 'PENDING' or state == 'QUEUED' or state == 'RETRY' then
    if not expires(id, r.expires_due) then watch_expiry(id, r.expires_due) end
  elseif state == 'SYNCING' and r.dispatch ~= '' then
    put(id, 'dispatch', '')
    move(id, 'SYNCING', 'PENDING', at, 'sweep', 'its dispatch died', nil)
    enqueue(id, now, 'PENDING')
    said.moved = said.moved + 1
  elseif r.lease_until ~= '' then
    lease_ended(id, state, r)
  else
    redis.call('ZREM', key('due'), id)
  end
end

local function moment_has_come(id)
  redis.call('ZREM', key('moments'), id)
  local r = get(id, 'state', 'dispatch_queue', 'expires_due')
  if (r[1] ~= 'PENDING' and r[1] ~= 'RETRY') or expires(id, r[3]) then return end
  if r[1] == 'PENDING' and r[2] ~= '' then
    enqueue(id, now, 'PENDING')
  else
    move(id, r[1], 'QUEUED', at, 'sweep', 'its moment has come', nil)
    enqueue(id, now, 'QUEUED')
  end
  said.moved = said.moved + 1
end

local function cordoned(queue)
  local node = string.match(queue, '^node%.(.+)$')
  return node and redis.call('HGET', key('node', node), 'cordoned') == '1'
end

-- A queue that holds fewer hints than runs wait has lost some: those whose hint is oldest get a new one.
local function mend(queue)
  local waiting = key('waiting', queue)
  local size = redis.call('ZCARD', waiting)
  if size == 0 then
    if tonumber(redis.call('ZSCORE', key('queues'), queue)) < now - A.queue_kept_s then redis.call('ZREM', key('queues'), queue) end
    return
  end
  local missing = size - redis.call('LLEN', queue)
  if missing <= 0 or cordoned(queue) then return end
  local oldest = redis.call('ZRANGEBYSCORE', waiting, '-inf', num(now - A.overdue_s), 'LIMIT', 0, math.min(missing, A.most))
  for _, id in ipairs(oldest) do
    local state = get(id, 'state')[1]
    if state ~= 'QUEUED' and state ~= 'PENDING' then
      redis.call('ZREM', waiting, id)
    else
      redis.call('ZADD', waiting, num(now), id)
      local n = push(id, queue, state == 'PENDING' and DISPATCH or RUN)
      if n <= TOLD_HINTS then event(id, at, state, state, 'sweep', 'hint pushed again', nil) end
      said.moved = said.moved + 1
    end
  end
end

local function forget(id)
  local r = get(id, 'state', 'idem')
  if r[2] ~= '' and redis.call('GET', key('idem', r[2])) == id then redis.call('DEL', key('idem', r[2])) end
  if r[1] ~= '' then redis.call('HINCRBY', key('counts'), r[1], -1) end
  redis.call('DEL', key('run', id), key('story', id))
  for _, index in ipairs({'ended', 'recent', 'ids', 'unsettled', 'due'}) do redis.call('ZREM', key(index), id) end
end

if A.queue then
  if redis.call('ZCARD', key('waiting', A.queue)) > 0 then mend(A.queue) end
  return cjson.encode(said)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('due'), '-inf', num(now), 'LIMIT', 0, A.most)) do due(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('moments'), '-inf', num(at), 'LIMIT', 0, A.most)) do moment_has_come(id) end
for _, queue in ipairs(redis.call('ZRANGE', key('queues'), 0, -1)) do mend(queue) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('ended'), '-inf', num(now - A.keep_s), 'LIMIT', 0, FORGOTTEN_A_TURN)) do forget(id) end
return cjson.encode(said)
