-- What follows a final run has been done: its hint is not needed any more. run
redis.call('ZREM', key('unsettled'), A.run)
redis.call('ZREM', key('due'), A.run)
redis.call('HDEL', key('run', A.run), 'hint', 'dispatch_hint')
return '{"said":"ok"}'
