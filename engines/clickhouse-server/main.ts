import { once } from 'node:events';
import { PRIVATE_UMASK } from '../../core/config/home.ts';
import { createLogger } from '../../core/service/log.ts';
import { runProcess } from '../../core/service/service.ts';
import { type ServerOptions, startServer } from './server.ts';

// The options come over the channel of the process that started this one, where no process list shows them.
if (process.channel === undefined) {
  process.stderr.write('The embedded ClickHouse is started by "afflux up".\n');
  process.exit(2);
}
process.umask(PRIVATE_UMASK);
const [options] = (await once(process, 'message')) as [ServerOptions];
const log = createLogger({ name: 'clickhouse', level: options.logLevel });
await runProcess(log, () => startServer(options, log));
