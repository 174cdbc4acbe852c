-- The code is there and verified: the command is about to start. Only runs with a project pass here.
-- run, attempt, claim, release, actor, cause; asked again it answers the same.
-- answer: {said = 'ok', cancel} | {said = 'fenced'}
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'claim', 'cancel', 'dispatch', 'release')
if r[3] ~= A.claim or tonumber(r[2]) ~= A.attempt or not held(r[1], r[5]) then return cjson.encode({said = 'fenced'}) end
if A.release ~= '' and A.release ~= r[6] then put(A.run, 'release', A.release) end
if r[1] == 'SYNCING' then move(A.run, 'SYNCING', 'STARTED', at, A.actor, A.cause or 'code verified', token(A.attempt, A.claim)) end
return cjson.encode({said = 'ok', cancel = r[4]})
