-- A node gives back what it took and does not understand: another node may know all of the spec. No retry is used, and the
-- node is not asked again for a while, unless it is of another version by then.
-- run, attempt, claim, node, version (of the node), cause, actor
-- answer: {said = 'declined'}; asked again, the same | {said = 'refused'}: no other node may take it, or it is to be cancelled:
--         its end is to be reported | {said = 'safe'}
local now, at = tick()
if guarded(now) then return '{"said":"safe"}' end
local DECLINED_FOR_S = 600
local r = get(A.run, 'state', 'attempt', 'claim', 'node', 'cancel', 'dispatch', 'declined')
local declined = r[7] ~= '' and cjson.decode(r[7]) or {}
if tonumber(r[2]) ~= A.attempt or r[3] ~= A.claim then
  -- The next node may have taken it before an answer that got lost was asked for again.
  local before = declined[A.node]
  return before and before.claim == A.claim and '{"said":"declined"}' or '{"said":"refused"}'
end
if not held(r[1], r[6]) or r[4] ~= '' or r[5] ~= '' then return '{"said":"refused"}' end
declined[A.node] = {version = A.version, claim = A.claim, till = num(now + DECLINED_FOR_S)}
free_slot(A.run, A.node, now)
put(A.run, 'declined', cjson.encode(declined), 'lease_until', '', 'claim', '')
move(A.run, r[1], 'QUEUED', at, A.actor, A.cause, token(A.attempt, A.claim))
enqueue(A.run, now, 'QUEUED')
return '{"said":"declined"}'
