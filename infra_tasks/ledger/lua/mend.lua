-- Puts a run back to where its state says that it belongs, so that the sweep and the nodes move it on. Its state, its end and
-- its result are never touched, and what is right is left alone.
-- run, holder (a node that counts a slot for it without having its claim), hint ('1': it has none in its queue)
-- answer: {said = 'mended' | 'right' | 'safe' | 'unknown', did[]}
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end
local id = A.run
local r = get(id, 'state', 'dispatch', 'dispatch_queue', 'queue', 'lease_until', 'claim_node', 'submitted_at', 'not_before', 'claim',
  'attempt', 'in_line')
local state, did = r[1], {}
if state == '' then return cjson.encode({said = 'unknown'}) end
local function within(index) return redis.call('ZSCORE', key(index), id) end
local function done(what) did[#did + 1] = what end

local function belongs(index, wanted, score)
  if wanted and not within(index) then redis.call('ZADD', key(index), score, id); done('put into ' .. index) end
  if not wanted and within(index) then redis.call('ZREM', key(index), id); done('taken out of ' .. index) end
end

local function waits()
  return redis.call('ZSCORE', key('waiting', r[4]), id) or (r[3] ~= '' and redis.call('ZSCORE', key('waiting', r[3]), id))
end

local function stands() return r[11] ~= '' and redis.call('ZSCORE', key('line', r[11]), id) end

local function queue_again()
  local queue = state == 'PENDING' and r[3] or r[4]
  if stands() then return end
  if not waits() then
    redis.call('HDEL', key('run', id), 'in_line')
    enqueue(id, now, state)
    done('put into its queue, with a hint')
  elseif A.hint then
    redis.call('ZADD', key('waiting', queue), num(now), id)
    push(id, queue, state == 'PENDING' and DISPATCH or RUN)
    done('hint pushed again')
  end
end

-- The last move of its state, '' -> first state if it never had another.
local function last_move()
  local story = redis.call('LRANGE', key('story', id), 0, -1)
  for i = #story, 1, -1 do
    local told = cjson.decode(story[i])
    if told.from ~= told.to then return told end
  end
  return {from = '', at = 0}
end

-- How long its pause between two tries still is; nil when it has none, but waits for a moment of the wall clock. Where that
-- clock was set back meanwhile the moment seems far away: no pause is longer than it was when it began.
local function pause_left_s()
  local moved, moment = last_move(), tonumber(r[8]) or at
  if moved.from == '' then return nil end
  return math.max(0, math.min(moment - at, moment - tonumber(moved.at)))
end

local function must_wait()
  if state == 'RETRY' or within('pauses') then return true end
  if state ~= 'PENDING' then return false end
  return r[3] == '' or (pause_left_s() or (tonumber(r[8]) or 0) - at) > 0
end

local function watch_its_moment()
  local left_s = not within('pauses') and pause_left_s()
  if left_s then pause(id, left_s, now, at) else wait_until(id, tonumber(r[8]) or at) end
end

local over, has_claim = FINAL[state] and true or false, held(state, r[2])
belongs('recent', true, r[7])
belongs('ids', true, 0)
belongs('live', not over, r[7])
belongs('ended', over, num(now))
if r[6] ~= '' then
  local counted = redis.call('SISMEMBER', key('node', r[6], 'live'), id) == 1
  if has_claim and not counted then take_slot(id, r[6]); done('slot counted') end
  if not has_claim and counted then free_slot(id, r[6], now); done('slot freed') end
end
if A.holder and not (has_claim and A.holder == r[6]) then
  if redis.call('SREM', key('node', A.holder, 'live'), id) == 1 then done('slot freed') end
end
if over or has_claim then
  if waits() or stands() then leave_queue(id, now); done('taken out of its queue') end
  if within('moments') then wait_no_more(id); done('taken out of moments') end
end
if over then
  if within('unsettled') and not within('due') then look_at(id, now); done('the sweep looks at it') end
elseif has_claim then
  if r[5] ~= '' and not within('due') then redis.call('ZADD', key('due'), r[5], id); done('the sweep looks at it') end
elseif state == 'SYNCING' then
  if not within('due') then look_at(id, now); done('the sweep looks at it') end
elseif must_wait() then
  if not within('moments') then watch_its_moment(); done('its moment is watched again') end
elseif not within('moments') then
  queue_again()
end
if #did == 0 then return '{"said":"right","did":[]}' end
event(id, at, state, state, 'audit', table.concat(did, ', '), nil)
return cjson.encode({said = 'mended', did = did})
