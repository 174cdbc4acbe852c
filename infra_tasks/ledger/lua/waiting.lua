-- Shared by every script, behind the prelude: where a run waits, who may go on, and how a run ends.
--
-- A run waits either with a hint in the broker's list (it is in waiting:<queue>), or without one in a line, in front of a
-- gate that is closed. Whoever leaves a gate lets the next ones through, in the same script. Gates, in this order:
--
--   project:<project>  no more runs of a project may run than most_running says
--   name:<name>        no more runs of this name may run than max_running of the spec says. Those without a limit are counted,
--                      too, and wait behind a limited one that came first: else they could follow each other without a gap,
--                      and it would never have its turn.
--   lane:<project>     no more runs of one project than LANE_HINTS have a hint in one queue. Those of another project come
--                      right behind them, however many wait: nodes take hints as they come, so projects take turns.
--
-- A line is <gate>@<queue>: a queue that nobody consumes holds up nobody elsewhere. Yet who came to a gate first goes first,
-- whatever its queue, unless one of that queue is through the gate already and waits for its node.
--
-- running:<gate>   set   runs with a claim, of a project or a name (with a limit or without)
-- most_running     hash  project -> how many of it may run;  most_running:by  hash  project -> node whose nodes.json says so
-- ahead:<line>     set   runs that went through this gate and wait with a hint (not those whose hint is in the hands of the
--                         node they are pinned to, which is full: it goes on when a slot is free, and holds up nobody meanwhile;
--                         nor those that a node is too old for)
-- line:<line>      zset  run -> its number (field `line` of the run, kept for good: who was first stays first)
-- lines            set   lines somebody stands in;  lines:<gate>  set  those of one gate
-- kept:<gate>      zset  run -> its number: of those that found the gate full when their node had a slot, and have a hint now. So
--                         that runs of a busy queue are not always too late, those that came later, of all queues, keep a
--                         place for them (till kept_till, a field of the run)
-- line_number      string  the last number given
local LANE_HINTS = 32
-- Those in front of a lane may have to stand in line before another gate: so many are looked at in one go.
local LET_THROUGH_AT_ONCE = 20
local NO_LIMIT = math.huge
-- Its hint is the next one of its queue. A node may be full, or gone meanwhile: others do not wait for that.
local KEPT_FOR_S = 10
local LOOKED_AT_KEPT = 10

local function gate_of(line) return string.match(line, '^(.*)@') end

local function lines_of(project, name, queue)
  local found = {'lane:' .. project .. '@' .. queue}
  if project ~= '' then found[#found + 1] = 'project:' .. project .. '@' .. queue end
  if name ~= '' then found[#found + 1] = 'name:' .. name .. '@' .. queue end
  return found
end

-- The gates a run must go through to get a hint in a queue; `most`: how many may run.
local function gates(id, queue)
  local r, found = get(id, 'state', 'project', 'name', 'most_named'), {}
  if r[1] == 'QUEUED' then
    local most = r[2] ~= '' and redis.call('HGET', key('most_running'), r[2])
    if most then found[1] = {what = 'project:' .. r[2], most = tonumber(most)} end
    if r[3] ~= '' then found[#found + 1] = {what = 'name:' .. r[3], most = tonumber(r[4]) or NO_LIMIT} end
  end
  found[#found + 1] = {what = 'lane:' .. r[2]}
  for _, gate in ipairs(found) do gate.line = gate.what .. '@' .. queue end
  return found
end

local function is_limited(gate) return gate.most and gate.most < NO_LIMIT end

local function is_full(gate) return is_limited(gate) and redis.call('SCARD', key('running', gate.what)) >= gate.most end

local function is_open(gate)
  if gate.most == NO_LIMIT then return true end
  local ahead = redis.call('SCARD', key('ahead', gate.line))
  if not gate.most then return ahead < LANE_HINTS end
  return redis.call('SCARD', key('running', gate.what)) + ahead < gate.most
end

local function stand_in_line(id, gate)
  local number = get(id, 'line')[1]
  if number == '' then number = redis.call('INCR', key('line_number')) end
  put(id, 'line', number, 'in_line', gate.line)
  redis.call('ZADD', key('line', gate.line), number, id)
  redis.call('SADD', key('lines'), gate.line)
  redis.call('SADD', key('lines', gate.what), gate.line)
end

-- Its number, as a score; who never had one comes last.
local function number_of(id) return tonumber(get(id, 'line')[1]) or math.huge end

-- Of one name, some may want fewer beside them than others: those would be overtaken for ever. So would those of a queue
-- whose nodes have much to do, by those of another.
local function has_others_before(id, gate)
  local lines = gate.most and redis.call('SMEMBERS', key('lines', gate.what)) or {}
  local number = lines[1] and number_of(id)
  for _, line in ipairs(lines) do
    if line == gate.line or redis.call('SCARD', key('ahead', line)) == 0 then
      local first = redis.call('ZRANGE', key('line', line), 0, 0, 'WITHSCORES')
      if first[1] and tonumber(first[2]) < number then return true end
    end
  end
  return false
end

-- Whether all free places are kept for those that came first and found none.
local function is_kept(id, gate, now)
  local kept = gate.most and key('kept', gate.what)
  if not kept or redis.call('EXISTS', kept) == 0 then return false end
  local count, most = 0, gate.most
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', kept, '-inf', '(' .. number_of(id), 'LIMIT', 0, LOOKED_AT_KEPT)) do
    local r = get(other, 'kept_till', 'most_named')
    if (tonumber(r[1]) or 0) <= now then
      redis.call('ZREM', kept, other)
    else
      count = count + 1
      if string.sub(gate.what, 1, 5) == 'name:' then most = math.min(most, tonumber(r[2]) or NO_LIMIT) end
    end
  end
  return count > 0 and redis.call('SCARD', key('running', gate.what)) + count >= most
end

-- Who was refused at a gate has the next place of it.
local function keep_place(id, found, now)
  put(id, 'kept_till', num(now + KEPT_FOR_S))
  for _, gate in ipairs(found) do
    if is_limited(gate) then redis.call('ZADD', key('kept', gate.what), number_of(id), id) end
  end
end

local function keep_no_place(id, project, name)
  redis.call('HDEL', key('run', id), 'refused', 'kept_till')
  if project ~= '' then redis.call('ZREM', key('kept', 'project:' .. project), id) end
  if name ~= '' then redis.call('ZREM', key('kept', 'name:' .. name), id) end
end

local function is_shut(id, gate, now) return not is_open(gate) or has_others_before(id, gate) or is_kept(id, gate, now) end

-- A run gets its hint, or stands in line in front of the first closed gate.
local function admit(id, queue, now)
  local found = gates(id, queue)
  for _, gate in ipairs(found) do
    if is_shut(id, gate, now) then return stand_in_line(id, gate) end
  end
  for _, gate in ipairs(found) do redis.call('SADD', key('ahead', gate.line), id) end
  redis.call('ZADD', key('waiting', queue), num(now), id)
  local r = get(id, 'state', 'refused')
  local refused = r[2] == '1'
  if refused then keep_place(id, found, now) end
  push(id, queue, r[1] == 'PENDING' and DISPATCH or RUN, refused)
end

local function is_shut_for(id, queue, line, now)
  for _, gate in ipairs(gates(id, queue)) do
    if gate.line == line then return is_shut(id, gate, now) end
  end
  return false
end

-- Lets the first ones of a line through while its gate is open; returns how many left it.
local function let_through(line, now, most)
  most = most or LET_THROUGH_AT_ONCE
  for left = 0, most - 1 do
    local id = redis.call('ZRANGE', key('line', line), 0, 0)[1]
    if not id then
      redis.call('SREM', key('lines'), line)
      redis.call('SREM', key('lines', gate_of(line)), line)
      return left
    end
    local r = get(id, 'state', 'queue', 'dispatch_queue', 'in_line')
    local queue, stands = r[1] == 'PENDING' and r[3] or r[2], r[4] == line
    local waits = stands and (r[1] == 'PENDING' or r[1] == 'QUEUED')
    if waits and is_shut_for(id, queue, line, now) then return left end
    redis.call('ZREM', key('line', line), id)
    if stands then redis.call('HDEL', key('run', id), 'in_line') end
    if waits then
      -- Where nobody has waited with a hint for a day, nobody looks any more.
      redis.call('ZADD', key('queues'), num(now), queue)
      admit(id, queue, now)
    end
  end
  return most
end

-- A gate is further open than before, or somebody is gone from its line: in which queue the next one waits, nobody knows.
local function let_all_through(what, now)
  local left = LET_THROUGH_AT_ONCE
  repeat
    local before = left
    for _, line in ipairs(redis.call('SMEMBERS', key('lines', what))) do left = left - let_through(line, now, left) end
  until left == before or left <= 0
end

-- Lanes of one project know nothing of each other.
local function go_on(line, now)
  if string.sub(line, 1, 5) == 'lane:' then let_through(line, now) else let_all_through(gate_of(line), now) end
end

-- A run waits in a queue from now on: a PENDING one for its dispatcher, else for a slot.
local function enqueue(id, now, state)
  local r = get(id, 'queue', 'dispatch_queue', 'expires_due')
  local queue = state == 'PENDING' and r[2] or r[1]
  redis.call('ZADD', key('queues'), num(now), queue)
  watch_expiry(id, r[3])
  admit(id, queue, now)
end

-- Whoever waits behind a run in this queue need not wait for it any longer.
local function give_way(id, project, name, queue, now)
  for _, line in ipairs(lines_of(project, name, queue)) do
    if redis.call('SREM', key('ahead', line), id) == 1 then go_on(line, now) end
  end
end

-- It keeps its hint, but its node does not take it now: nobody waits for it meanwhile.
local function hold_up_nobody(id, project, name, queue, now)
  keep_no_place(id, project, name)
  give_way(id, project, name, queue, now)
end

local function leave_queue(id, now)
  local r = get(id, 'queue', 'dispatch_queue', 'in_line', 'project', 'name', 'refused')
  if r[6] ~= '' then keep_no_place(id, r[4], r[5]) end
  if r[3] ~= '' then
    redis.call('ZREM', key('line', r[3]), id)
    redis.call('HDEL', key('run', id), 'in_line')
    go_on(r[3], now)
  end
  for _, queue in ipairs({r[1], r[2]}) do
    if queue ~= '' then
      redis.call('ZREM', key('waiting', queue), id)
      give_way(id, r[4], r[5], queue, now)
    end
  end
end

-- From its queue back into the line of a gate that is shut for it. Others are let through when it stands there: none that
-- came later is to have the place before it. `late`: its node had a slot for it.
local function step_back(id, gate, late, now)
  local r = get(id, 'queue', 'in_line', 'project', 'name')
  keep_no_place(id, r[3], r[4])
  if late then put(id, 'refused', '1') end
  redis.call('ZREM', key('waiting', r[1]), id)
  if r[2] ~= '' then redis.call('ZREM', key('line', r[2]), id) end
  stand_in_line(id, gate)
  if r[2] ~= '' then go_on(r[2], now) end
  give_way(id, r[3], r[4], r[1], now)
end

-- What a run takes a place of while it runs.
local function counted(id)
  local r, found = get(id, 'project', 'name'), {}
  if r[1] ~= '' then found[1] = 'project:' .. r[1] end
  if r[2] ~= '' then found[#found + 1] = 'name:' .. r[2] end
  return found
end

local function take_slot(id, node)
  redis.call('SADD', key('node', node, 'live'), id)
  for _, what in ipairs(counted(id)) do redis.call('SADD', key('running', what), id) end
end

local function free_slot(id, node, now)
  if node == '' then return end
  redis.call('SREM', key('node', node, 'live'), id)
  for _, what in ipairs(counted(id)) do
    if redis.call('SREM', key('running', what), id) == 1 then let_all_through(what, now) end
  end
end

-- Runs that wait in a queue: with a hint, then those in a line in front of it. No more of either than `most`.
local function waiting_in(queue, most)
  local found = redis.call('ZRANGE', key('waiting', queue), 0, most - 1)
  for _, line in ipairs(redis.call('SMEMBERS', key('lines'))) do
    if string.match(line, '@([^@]*)$') == queue then
      for _, id in ipairs(redis.call('ZRANGE', key('line', line), 0, most - 1)) do found[#found + 1] = id end
    end
  end
  return found
end

-- Ends a run for good: state, result, Celery's meta and its announcement, in one step.
-- e: actor, cause, token, reason, result, meta_key, meta (as Celery's result backend writes it), keep_s (how long),
-- settle_in_s (0: nobody is about to carry on the canvas)
local function finalize(id, from, to, now, at, e)
  local r = get(id, 'canvas', 'claim_node')
  leave_queue(id, now)
  move(id, from, to, at, e.actor, e.cause, e.token)
  put(id, 'ended_at', num(at), 'reason', e.reason or '', 'cause', e.cause or '', 'result', e.result, 'lease_until', '',
    'dispatch', '')
  redis.call('ZREM', key('live'), id)
  wait_no_more(id)
  redis.call('ZADD', key('ended'), num(now), id)
  free_slot(id, r[2], now)
  local history_s = tonumber(redis.call('HGET', key('epoch'), 'history_s')) or e.keep_s
  redis.call('SET', e.meta_key, e.meta, 'EX', math.ceil(math.max(history_s, e.keep_s) + RESULT_OUTLASTS_S))
  redis.call('PUBLISH', e.meta_key, e.meta)
  if r[1] ~= '1' then
    redis.call('ZREM', key('due'), id)
    return
  end
  local settle_in_s = e.settle_in_s or 5
  redis.call('ZADD', key('unsettled'), num(now), id)
  if settle_in_s == 0 then
    push(id, SETTLE_QUEUE, RUN)
    settle_in_s = SETTLE_AGAIN_S
  end
  look_at(id, now + settle_in_s)
end
