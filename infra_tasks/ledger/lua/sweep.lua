-- One turn of the sweep: moves on what is due, pushes hints that must have got lost, drops those nobody needs any more.
-- Its cost does not depend on how many runs are live or finished, only on how many are due.
-- node, most, lease_s (who sweeps), overdue_s (age of a hint that should have been taken), settle_patience_s,
-- poisoned_after, queue_kept_s;
-- queue: nothing but the lost hints of this queue, whoever sweeps
-- answer: {said = 'ok' | 'other' | 'safe', moved = n, expired[], lost[], moving[] = {run, node}}: expired and lost ones are
--         ended by the caller, moving ones unpinned
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end
if not A.queue then
  local who = redis.call('GET', key('sweeper'))
  -- When the wall clock is set back the key would outlive a sweeper that dies: its last turn counts as well.
  local swept = tonumber(redis.call('HGET', key('clock'), 'swept') or now)
  if who and who ~= A.node and now - swept <= A.lease_s then return cjson.encode({said = 'other', who = who}) end
  redis.call('HSET', key('clock'), 'swept', num(now))
  redis.call('SET', key('sweeper'), A.node, 'PX', math.floor(A.lease_s * 1000))
end
local said = {said = 'ok', moved = 0, expired = {}, lost = {}, moving = {}}
local LONGEST_SETTLE_PAUSE_S = 600
local TOLD_HINTS = 5
local SILENT_AFTER_S = 30
local LINES_A_TURN = 50
-- Of runs that leave a line, and of those that may hold it up: a few milliseconds.
local THROUGH_A_TURN = 200
local PLACES_A_LINE = 10
-- Hints of one queue that a turn looks through: a few milliseconds.
local LOOKED_THROUGH = 2000
-- So few of them are taken out one by one: writing all others anew takes longer than that, and megabytes of the AOF.
local FEW_DEAD = 20

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
  free_slot(id, r.claim_node, now)
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
  wait_no_more(id)
  local r = get(id, 'state', 'dispatch_queue', 'expires_due', 'not_before')
  if (tonumber(r[4]) or 0) > at then put(id, 'not_before', num(at)) end
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

-- Whether a message of the broker is the hint of a known run that does not wait for it. Every run that comes to wait gets a
-- new hint, so an old one is never needed again. What is unknown - plain tasks, specs of foreign clients - stays, and what
-- may still carry on a canvas.
local function is_dead(text, waiting)
  local task, id = string.match(text, '"task": "([^"]+)", "id": "([^"]+)"')
  if task == DISPATCH then id = string.match(id, '^dispatch:(.+)$') elseif task ~= RUN then id = nil end
  if not id or redis.call('ZSCORE', waiting, id) or redis.call('ZSCORE', key('unsettled'), id) then return false end
  return redis.call('EXISTS', key('run', id)) == 1
end

-- A queue that holds more hints than runs wait holds dead ones: those of cancelled runs, say. A worker takes a hundredth of
-- a second for each, so thousands of them would keep the runs behind them waiting. The ones it comes to next go first.
local function drop_dead(queue)
  local waiting = key('waiting', queue)
  local surplus = redis.call('LLEN', queue) - redis.call('ZCARD', waiting)
  if surplus <= 0 then return end
  local next_ones, kept, dead = redis.call('LRANGE', queue, -LOOKED_THROUGH, -1), {}, {}
  for _, text in ipairs(next_ones) do
    local list = is_dead(text, waiting) and dead or kept
    list[#list + 1] = text
  end
  if #dead <= FEW_DEAD then
    for _, text in ipairs(dead) do redis.call('LREM', queue, -1, text) end
    return
  end
  redis.call('LTRIM', queue, 0, -(#next_ones + 1))
  if #kept > 0 then redis.call('RPUSH', queue, unpack(kept)) end
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

-- Runs that may go back to their pool, while a node that is drained has them wait.
local function moving(node)
  local count = 0
  for _, id in ipairs(waiting_in('node.' .. node, LOOKED_THROUGH)) do
    if #said.moving >= A.most then return count + 1 end
    if get(id, 'pool')[1] ~= '' then
      count = count + 1
      said.moving[#said.moving + 1] = {run = id, node = node}
    end
  end
  return count
end

-- A drain goes on whoever asked for it: it is over when nothing runs there and nothing is left to be moved.
local function drain(node)
  local d = redis.call('HMGET', key('node', node), 'drain', 'drain_moves', 'drain_by')
  if not d[1] then
    redis.call('SREM', key('draining'), node)
    return
  end
  local left = (d[2] == '1' and moving(node) or 0) + redis.call('SCARD', key('node', node, 'live'))
  local is = left == 0 and 'drained' or 'draining'
  if is == d[1] then return end
  redis.call('HSET', key('node', node), 'drain', is)
  fleet_event({at = num(at), kind = is, node = node, actor = d[3]})
end

-- By ledger time: that Redis was away makes nobody silent.
local function speaks(node)
  local seen = redis.call('HGET', key('node', node), 'seen')
  return seen and now - tonumber(seen) < SILENT_AFTER_S
end

-- The release a run must have, '' while none is fixed: that of its canvas, as dispatch.lua has it.
local function fixed_release(id)
  local r = get(id, 'project', 'root', 'canvas')
  local root = r[2] ~= '' and r[2] or (r[3] == '1' and id)
  return root and redis.call('HGET', key('root', root), r[1]) or '', r[1]
end

local function living_holder(project, release)
  for _, node in ipairs(redis.call('SMEMBERS', key('holders', project, release))) do
    if speaks(node) then return node end
  end
end

-- The node that has the source is silent, so nobody dispatches. What needs no new release goes on: whoever takes the run
-- fetches its code from a node that holds it. What needs one waits.
local function undispatched(queue)
  local source = string.match(queue, '^dispatch%.(.+)$')
  if not source or not redis.call('HGET', key('node', source), 'seen') or speaks(source) then return end
  for _, id in ipairs(waiting_in(queue, A.most)) do
    local release, project = fixed_release(id)
    local holder = release ~= '' and living_holder(project, release)
    if holder and get(id, 'state')[1] == 'PENDING' then
      leave_queue(id, now)
      put(id, 'release', release)
      move(id, 'PENDING', 'QUEUED', at, 'sweep', source .. ' is silent; ' .. holder .. ' holds ' .. string.sub(release, 1, 12), nil)
      enqueue(id, now, 'QUEUED')
      said.moved = said.moved + 1
    end
  end
end

-- Places are left behind where scripts of an older version, which do not know them, ended a run or took it away.
local function give_back_places(line)
  local waiting, gate = key('waiting', string.match(line, '@([^@]*)$')), gate_of(line)
  for _, id in ipairs(redis.call('SRANDMEMBER', key('ahead', line), PLACES_A_LINE)) do
    if not redis.call('ZSCORE', waiting, id) then redis.call('SREM', key('ahead', line), id) end
  end
  for _, id in ipairs(redis.call('SRANDMEMBER', key('running', gate), PLACES_A_LINE)) do
    if not held(unpack(get(id, 'state', 'dispatch'))) then redis.call('SREM', key('running', gate), id) end
  end
end

-- Whoever leaves a gate lets the next ones through; here those who are left.
local function lines_move_on()
  local left = THROUGH_A_TURN
  for _, line in ipairs(redis.call('SRANDMEMBER', key('lines'), LINES_A_TURN)) do
    give_back_places(line)
    left = left - let_through(line, now, left)
  end
end

if A.queue then
  if redis.call('ZCARD', key('waiting', A.queue)) > 0 then mend(A.queue) end
  return cjson.encode(said)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('due'), '-inf', num(now), 'LIMIT', 0, A.most)) do due(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('moments'), '-inf', num(at), 'LIMIT', 0, A.most)) do moment_has_come(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('pauses'), '-inf', num(now), 'LIMIT', 0, A.most)) do moment_has_come(id) end
for _, queue in ipairs(redis.call('ZRANGE', key('queues'), 0, -1)) do
  drop_dead(queue)
  mend(queue)
  undispatched(queue)
end
for _, node in ipairs(redis.call('SMEMBERS', key('draining'))) do drain(node) end
lines_move_on()
return cjson.encode(said)
