-- Lets a run be taken by any node that has its labels: it waits for a node that is being drained, and nobody but the fleet
-- had pinned it there (when it was handed in, no other node could have taken it).
-- run, node (it must still wait for that one), spec (its text without the node), actor, cause
-- answer: {said = 'ok' | 'refused' | 'safe'}; asked again it is refused, and nothing happens
local now, at = tick()
if guarded(now) then return '{"said":"safe"}' end
local r = get(A.run, 'state', 'node', 'pool')
if r[1] ~= 'QUEUED' or r[2] ~= A.node or r[3] == '' then return '{"said":"refused"}' end
leave_queue(A.run, now)
put(A.run, 'spec', A.spec, 'node', '', 'queue', r[3], 'pool', '')
event(A.run, at, 'QUEUED', 'QUEUED', A.actor, A.cause, nil)
enqueue(A.run, now, 'QUEUED')
return '{"said":"ok"}'
