-- Places nothing new on a node (cordon), also until it is empty (drain), or does again (uncordon). What a person said and
-- what the system found (finish.lua: processes that could not be killed) stand side by side; uncordon takes both back.
-- node, how = 'cordon' | 'drain' | 'uncordon', why, actor, nonce;
-- drain: deadline_s (of ledger time; then what still runs is stopped; absent: never), moves (runs that only the fleet has
-- pinned go back to their pool)
-- answer: {said = 'ok', before = {field -> text}}: what stood there before
local before = answered()
if before then return before end
local now, at = tick()
local NAMES = {'cordoned', 'cordoned_by', 'cordon_why', 'cordoned_at', 'survivors_why', 'survivors_at', 'drain', 'drain_by',
  'drain_at', 'drain_until', 'drain_until_at', 'drain_moves'}
-- The oldest of a queue: their hints were dropped while the node took nothing.
local MISSED_HINTS = 1000
local n, was = key('node', A.node), {}
for i, text in ipairs(redis.call('HMGET', n, unpack(NAMES))) do was[NAMES[i]] = text or '' end

local function uncordon()
  redis.call('HDEL', n, unpack(NAMES))
  redis.call('SREM', key('draining'), A.node)
  local waiting = key('waiting', 'node.' .. A.node)
  for _, id in ipairs(redis.call('ZRANGE', waiting, 0, MISSED_HINTS - 1)) do redis.call('ZADD', waiting, 'XX', 0, id) end
end

local function drain()
  local till, till_at = '', ''
  if A.deadline_s then till, till_at = num(now + A.deadline_s), num(at + A.deadline_s) end
  redis.call('HSET', n, 'drain', 'draining', 'drain_by', A.actor, 'drain_at', num(at), 'drain_until', till,
    'drain_until_at', till_at, 'drain_moves', A.moves and '1' or '')
  redis.call('SADD', key('draining'), A.node)
end

local kinds = {cordon = 'cordoned', drain = 'draining', uncordon = 'uncordoned'}
if A.how == 'uncordon' then
  uncordon()
else
  if A.how == 'cordon' or A.why or was.cordoned_by == '' then
    redis.call('HSET', n, 'cordoned_by', A.actor, 'cordon_why', A.why or '', 'cordoned_at', num(at))
  end
  redis.call('HSET', n, 'cordoned', '1')
  if A.how == 'drain' then drain() end
end
if A.how ~= 'uncordon' or was.cordoned == '1' then
  fleet_event({at = num(at), kind = kinds[A.how], node = A.node, why = A.why, actor = A.actor})
end
return answer({said = 'ok', before = was})
